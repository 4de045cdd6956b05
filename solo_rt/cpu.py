"""The CPU: what it is, and how many of its cores this process may use, by affinity and its container's share of time.

Source: the kernel's documentation of control groups, `cpu.max` of version 2 and `cpu.cfs_quota_us` of version 1.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PIXELS_PER_THREAD = 1 << 20  # of a codec: H.264 of 720p takes 4 ms to decode, 10 ms to encode
SPIN_COUNT = "GOMP_SPINCOUNT"  # environment variable of GNU's OpenMP, which PyTorch brings along
ISA = "ONEDNN_MAX_CPU_ISA"  # environment variable: instructions that OpenVINO must do without
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
MADV_HUGEPAGE, HUGE_PAGE = 14, 2 << 20  # of Linux; the size is that of x86 and of most ARM


def allowed_cores() -> list[int]:
    """Return the numbers of the cores that this process may run on."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores there are to use, at least 1; `root` is where /proc and /sys are."""
    return max(1, math.ceil(min(len(allowed_cores()), _quota(root))))


def codec_threads(width: int, height: int) -> int:
    """Return how many threads decode or encode pictures of this size, beside a network.

    Half of the cores are enough: on two of them a run of 720p takes 4 % less time than with FFmpeg's choice for
    decoding, three, and 5 % less than with its choice for encoding. Large pictures get more, since one thread would
    hold the run up.
    """
    cores = usable_cores()
    return max(1, min(cores, max(cores // 2, math.ceil(width * height / PIXELS_PER_THREAD))))


def is_busy() -> bool:
    """Return whether more programs wanted to run in the last minute than the machine has cores."""
    try:
        return os.getloadavg()[0] > (os.cpu_count() or 1)
    except (AttributeError, OSError):  # not every system says
        return False


@contextmanager
def sleeping_threads() -> Iterator[None]:
    """Let the threads of OpenMP in a library that is loaded inside sleep soon when they have nothing to do.

    Unasked they spin for milliseconds, and take the cores from our kernels, from the processes that load pictures and
    from whatever else runs: on two busy cores a network in PyTorch takes four times as long. OpenMP reads the variable
    when PyTorch is loaded; what the user says stays.
    """
    if {SPIN_COUNT, "OMP_WAIT_POLICY"} & os.environ.keys():
        yield
        return
    os.environ[SPIN_COUNT] = "1000"
    try:
        yield
    finally:
        os.environ.pop(SPIN_COUNT, None)


def keep_memory() -> None:
    """Have this process keep the memory that it frees, in large pages, where its C library is glibc.

    Each step of training allocates what the one before has freed; the system would hand it out page by page, cleared,
    which takes a tenth of the step. Large pages, which the processor finds faster, save about as much again.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, -1)  # never
    # What the heap will grow into: addresses only, until they are used.
    library.malloc.argtypes, library.malloc.restype = (ctypes.c_size_t,), ctypes.c_void_p
    library.free.argtypes = (ctypes.c_void_p,)
    library.madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    block = library.malloc(size)
    if block is None:  # a limit of the user's, or of a system that promises only what it has
        return
    start = -(-block // HUGE_PAGE) * HUGE_PAGE
    library.madvise(start, block + size - start, MADV_HUGEPAGE)  # may be refused: then pages are small
    library.free(block)


def processor(root: Path = Path("/")) -> str:
    """Return what the CPU is called."""
    return cpu_field("model name", root) or platform.processor() or platform.machine()


def instructions() -> tuple[str, str]:
    """Return the instructions that the CPU has, and what OpenVINO is told to do without; empty where nothing is said.

    What was compiled or measured with others is of no use.
    """
    return cpu_field("flags"), os.environ.get(ISA, "")


def cpu_field(name: str, root: Path = Path("/")) -> str:
    """Return what /proc/cpuinfo says first under a name; empty where it says nothing."""
    return read_field(root / "proc/cpuinfo", name)


def read_field(path: Path, name: str) -> str:
    """Return the value of the first line `name : value` of a file; empty where there is none."""
    pairs = (line.partition(":") for line in _read(path).splitlines())
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")


def _quota(root: Path) -> float:
    """Return how many cores' time the control groups of this process allow; infinity without a limit."""
    groups = root / "sys/fs/cgroup"
    quotas = [math.inf]
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":  # version 2
            base, names = groups, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            base, names = groups / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        place = Path(path.lstrip("/"))
        for folder in (place, *place.parents):  # the strictest of its own and of those around it
            words = [word for name in names for word in _read(base / folder / name).split()]
            if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):  # not "max", not -1
                quotas.append(int(words[0]) / int(words[1]))
    return min(quotas)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
