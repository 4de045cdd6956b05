"""What a measurement ran on, as the machine itself tells; what it does not tell is left out."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import solo_rt
from solo_rt.bench.nvml import Card
from solo_rt.cpu import allowed_cores, cpu_field, processor, read_field, usable_cores

# Of the CPU, what inference is fast or slow by; as Linux calls it on x86 and on Arm.
FLAGS = (
    "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile",
    "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "hypervisor",
)  # fmt: skip
PACKAGES = (
    "numpy",
    "av",
    "opencv-python-headless",
    "opencv-python",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    *("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
    "torch",
)


def describe_machine(card: Card | None, root: Path = Path("/")) -> dict[str, object]:
    """Return what the machine is as JSON values; `root` is where /proc and /sys are."""
    core = root / "sys/devices/system/cpu/cpu0"
    flags = set((cpu_field("flags", root) or cpu_field("Features", root)).split())
    board = _read(root / "proc/device-tree/model").rstrip("\0")
    optional: dict[str, object] = {
        "board": board,
        "power_mode": _power_mode() if board else "",
        "governor": _read(core / "cpufreq/scaling_governor").strip(),
        "frequency_mhz": _frequency(core, root),
        "highest_mhz": _number(core / "cpufreq/cpuinfo_max_freq", 1e-3),
        "memory_mb": _memory(root),
        "gpu": None if card is None else card.to_record(),
    }
    return {
        "cpu": processor(root),
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": os.cpu_count() or 1,
        "allowed_cores": len(allowed_cores()),
        "usable_cores": usable_cores(root),
        "system": platform.platform(),
        **{name: value for name, value in optional.items() if value not in (None, "")},
        "versions": {"solo-rt": solo_rt.__version__, "python": platform.python_version(), **_versions()},
    }


def shown(machine: Mapping[str, Any]) -> str:
    """Return the machine in one line."""
    gpu = machine.get("gpu")
    parts = [
        machine.get("board", ""),
        f"{machine['cpu']}, {machine['usable_cores']} of {machine['cores']} cores",
        gpu["name"] if gpu else "",
    ]
    return ", ".join(filter(None, parts))


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _power_mode() -> str:
    """Return the power mode of a Jetson."""
    program = shutil.which("nvpmodel")
    if program is None:
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run([program, "-q"], capture_output=True, text=True, timeout=10, check=False)
        return next((line.partition(":")[2].strip() for line in done.stdout.splitlines() if "Power Mode" in line), "")
    return ""


def _frequency(core: Path, root: Path) -> float | None:
    now = _number(core / "cpufreq/scaling_cur_freq", 1e-3)
    if now is not None:
        return now
    with suppress(ValueError):
        return round(float(cpu_field("cpu MHz", root)), 1)
    return None


def _memory(root: Path) -> int | None:
    with suppress(ValueError, IndexError):
        return int(read_field(root / "proc/meminfo", "MemTotal").split()[0]) // 1000
    return None


def _number(path: Path, unit: float) -> float | None:
    with suppress(ValueError):
        return round(float(_read(path)) * unit, 1)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
