"""What `scripts/test-gpu` runs on a card: three parts that each end within nine minutes, and what is said of them.

    python tests/gpu_parts.py [--part 1|2|3] [--json FILE] [--spent SECONDS]

1: is everything right that our kernels compute; 2: engines, frames and a film; 3: what limits the speed, and what other
libraries it takes. Every group runs to its end whatever became of those before it. The answer is 0 if none failed.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from solo_rt.doctor import Finding, examine

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "gpu"  # what groups write; no solo_rt is in it that would hide the installed one
PART_S = 530.0  # of 540: killing and writing take some
NAMED = 5  # tests that failed, of a group
PYTHON = sys.executable
CHECKPOINT = FOLDER / "nano" / "last.pt"
VIDEO = ("libnvcuvid.so.1", "libnvidia-encode.so.1")


@dataclass(frozen=True, slots=True)
class Group:
    """A command and its limit; it is skipped where a program, a library or a module of `needs` is missing."""

    name: str
    command: tuple[str, ...]
    limit_s: float
    needs: tuple[str, ...] = ()
    is_table: bool = False  # whether what it prints belongs into the summary


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a group: `state` is passed, failed, stopped at its limit, or skipped."""

    name: str
    state: str
    seconds: float
    detail: str
    output: tuple[str, ...] = ()


def on_card(*files: str, mark: str = "cuda", chosen: str = "") -> tuple[str, ...]:
    """Return the command that runs the tests of files that need a card, of those with `chosen` in their names."""
    paths = [str(ROOT / "tests" / file) for file in files]
    options = ["-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    # Warnings are errors for the versions that we pin; here they are those of another installation.
    options += ["-o", "filterwarnings=default", "-o", "addopts=-q", "-m", mark, "-k", chosen]
    return (PYTHON, "-m", "pytest", *options, *paths)


def bench(file: str, *arguments: str) -> tuple[str, ...]:
    """Return the command of a bench."""
    return (PYTHON, str(ROOT / "tests" / "bench" / file), *arguments)


def sanitized(tool: str, file: str, chosen: str = "") -> Group:
    """Return the group that runs tests under compute-sanitizer, which fails if that finds anything."""
    command = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", *on_card(file, chosen=chosen))
    return Group(f"{tool}: {Path(file).stem} {chosen}".strip(), command, 120, ("compute-sanitizer",))


DECODERS, PICTURES = "plugins/test_decoder_kernels.py", "plugins/test_picture_kernels.py"
CODECS = ("test_nvcodec.py", "test_gpu_frames.py", "plugins/test_gpu_pictures.py")
LIMITERS = ("--set", "basic", "--kernel-name", "regex:binarise|intersect|soften", "--launch-count", "12")
TRAINING = Group(
    "a checkpoint of 400 steps",
    (PYTHON, "-m", "solo_rt", "train", "--device", "cuda", "--steps", "400", "--workers", "12", "--resume", "auto",
     "--out", str(CHECKPOINT.parent)),
    150,
)  # fmt: skip
FRAGMENTS = ("nvcc", "-std=c++17", "-O3", "-arch=native", "-run", str(ROOT / "tests" / "plugins" / "fragments.cu"))
LAYERS = (PYTHON, "-m", "solo_rt", "bench", "--model", str(CHECKPOINT), "--device", "cuda")
PARTS: dict[int, tuple[Group, ...]] = {
    1: (
        Group("kernels of decoders", on_card(DECODERS), 90),
        Group("kernels of pictures", on_card(PICTURES), 60),
        Group("kernels of labels", on_card("plugins/test_choice_kernel.py", "plugins/test_label_paste_kernel.py"), 60),
        Group("streams, graphs, real sizes", on_card("plugins/test_gpu.py"), 90),
        Group("plugins as TensorRT calls them", on_card("plugins/test_plugins.py"), 60),
        Group("times of kernels", bench("kernels_cuda.py"), 90, is_table=True),
        sanitized("memcheck", DECODERS),
        sanitized("racecheck", DECODERS, "binarise or matrix_nms or soft_masks"),
        sanitized("racecheck", PICTURES, "overlay"),
    ),
    2: (
        Group("frames on devices", on_card("plugins/test_frame_devices.py"), 90),
        Group("norms", on_card("train/test_device_norm.py"), 60),
        Group("decoders of checkpoints", on_card("train/test_device_decoder.py"), 90),
        Group("engine of checkpoints", on_card("train/test_torch_engine.py"), 90),
        Group("times beside an eager loop", bench("torch_engine.py", "--candidates", "200"), 120, is_table=True),
        Group("times of frames", bench("frames_cuda.py"), 60, is_table=True),
        TRAINING,
        Group("a film on CPU and card", bench("film_cuda.py", "--model", str(CHECKPOINT)), 150, is_table=True),
    ),
    3: (
        Group("fragments of tensor cores", FRAGMENTS, 60, ("nvcc",), is_table=True),
        Group("limiters of kernels", ("ncu", *LIMITERS, *bench("kernels_cuda.py")), 150, ("ncu",), is_table=True),
        TRAINING,
        Group("where the time goes", LAYERS, 120, is_table=True),
        Group("TensorRT", on_card("test_tensorrt_gpu.py", mark="tensorrt"), 240, ("tensorrt",)),
        Group("NVDEC and NVENC", on_card(*CODECS), 90, VIDEO),
    ),
}


def missing(name: str) -> bool:
    """Return whether a program, a library lib*.so.N or a module is not there."""
    if not name.startswith("lib"):
        return shutil.which(name) is None and importlib.util.find_spec(name) is None
    try:
        ctypes.CDLL(name)
    except OSError:
        return True
    return False


def run_group(group: Group, limit_s: float) -> Outcome:
    """Return what became of a group that may take as long as its own limit and `limit_s` allow."""
    lacking = [name for name in group.needs if missing(name)]
    if lacking:
        return Outcome(group.name, "skipped", 0.0, f"there is no {', '.join(lacking)}")
    limit_s = min(group.limit_s, limit_s)
    if limit_s < 5:
        return Outcome(group.name, "stopped", 0.0, "no time was left for it")
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        of_pytest = (f"--junit-xml={results}",) if "pytest" in group.command else ()
        process = subprocess.Popen(
            [*group.command, *of_pytest], cwd=FOLDER, env={**os.environ, "SOLO_RT_REQUIRE_GPU": "1"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True,
        )  # fmt: skip
        try:
            text, _ = process.communicate(timeout=limit_s)
            state = "failed" if process.returncode else "passed"
            detail = f"exit status {process.returncode}" if process.returncode else ""
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            text, _ = process.communicate()
            state, detail = "stopped", f"it ran past {limit_s:.0f} s"
        if results.is_file():
            detail = "; ".join(filter(None, [count_tests(results), detail]))
    return Outcome(group.name, state, time.monotonic() - started, detail, tuple(text.splitlines()))


def count_tests(results: Path) -> str:
    """Return how many tests passed, were skipped and failed, and names of the last ones, from pytest's XML."""
    cases = list(ElementTree.parse(results).iter("testcase"))
    bad = [case.get("name", "") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    counts = [(len(cases) - len(bad) - skipped, "passed"), (skipped, "skipped"), (len(bad), "failed")]
    text = ", ".join(f"{count} {word}" for count, word in counts if count)
    more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return f"{text}: {', '.join(bad[:NAMED])}{more}" if bad else text


def examined() -> list[Finding]:
    """Return what the machine, the installation and the compilers are."""
    found = examine()
    for name, command in (
        ("commit", ("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")),
        ("card", ("nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader")),
        ("nvcc", ("nvcc", "--version")),
        ("cmake", ("cmake", "--version")),
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
            lines = (done.stdout if done.returncode == 0 else done.stderr).splitlines()
            release = [line for line in lines if "release" in line]  # nvcc's first lines are its copyright
            found.append(Finding(name, done.returncode == 0, " ".join((release or lines[:1] or [""])[0].split())))
        except (OSError, subprocess.TimeoutExpired) as error:
            found.append(Finding(name, False, str(error)))
    return found


def has_card(found: Sequence[Finding]) -> bool:
    """Return whether the driver of a card answered."""
    return any(f.subject == "CUDA driver" and f.found and "no GPU" not in f.detail for f in found)


def summary(found: Sequence[Finding], outcomes: Sequence[Outcome]) -> str:
    """Return versions, a line for every group, the tables, and the ends of what failed."""
    lines = [f"{'+' if f.found else '-'} {f.subject:24} {f.detail}" for f in found]
    lines += ["", *(f"{o.state:8} {o.seconds:6.1f} s  {o.name:32} {o.detail}" for o in outcomes)]
    tables = {group.name for groups in PARTS.values() for group in groups if group.is_table}
    for outcome in outcomes:
        bad = outcome.state in ("failed", "stopped")
        if outcome.output and (bad or outcome.name in tables):
            lines += ["", f"== {outcome.name}", *(outcome.output[-60:] if bad else outcome.output)]
    return "\n".join(lines)


def run_part(number: int, found: Sequence[Finding], *, spent_s: float, report: Path) -> bool:
    """Run a part within its time, leave its report, print its summary, and return whether nothing failed."""
    started = time.monotonic() - spent_s
    outcomes = []
    for group in PARTS[number]:
        outcomes.append(run_group(group, PART_S - (time.monotonic() - started)))
        print(f"{outcomes[-1].state:8} {outcomes[-1].seconds:6.1f} s  {group.name}", flush=True)
    took = time.monotonic() - started
    content = {
        "part": number,
        "seconds": round(took, 1),
        "found": [asdict(finding) for finding in found],
        "groups": [asdict(outcome) for outcome in outcomes],
    }
    report.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"\n{summary(found, outcomes)}\n")
    counts = [f"{sum(o.state == s for o in outcomes)} {s}" for s in ("passed", "failed", "stopped", "skipped")]
    print(f"part {number}: {', '.join(counts)} in {took:.0f} s; {report}", flush=True)
    return all(outcome.state in ("passed", "skipped") for outcome in outcomes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one part, or all of them."""
    parser = argparse.ArgumentParser(prog="scripts/test-gpu")
    parser.add_argument("--part", type=int, choices=sorted(PARTS), help="one of them; by default all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where its report goes; needs --part")
    parser.add_argument("--spent", type=float, default=0.0, help=argparse.SUPPRESS)  # seconds that the build took
    given = parser.parse_args(arguments)
    if given.json and not given.part:
        parser.error("--json needs --part")
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = examined()
    if not has_card(found):
        print(summary(found, []))
        print("scripts/test-gpu: expected an NVIDIA card and its driver, found none", file=sys.stderr)
        return 1
    parts = [given.part] if given.part else sorted(PARTS)
    passed = [
        run_part(
            n, found, spent_s=given.spent if n == parts[0] else 0.0, report=given.json or FOLDER / f"part-{n}.json"
        )
        for n in parts
    ]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
