"""Energy, as far as the machine counts it: RAPL of the CPU, NVML of a card, tegrastats of a Jetson."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from solo_rt.bench.meter import Joules
from solo_rt.bench.nvml import Card

TEGRASTATS_MS = 200  # between two of its lines
WHOLE = ("VIN", "VDD_IN", "POM_5V_IN")  # rails that feed all others, by generation; an AGX Orin has none
_RAIL = re.compile(r"\b([A-Z]\w*) (\d+)mW")


@contextmanager
def open_counters(card: Card | None, root: Path = Path("/")) -> Iterator[dict[str, Joules]]:
    """Give what counts energy here, by what it is of; `root` is where /sys is."""
    counters: dict[str, Joules] = {}
    packages = sorted((root / "sys/class/powercap").glob("intel-rapl:?"))
    readable = [package for package in packages if _read(package / "energy_uj") is not None]
    with ExitStack() as stack:
        for package in readable:
            counters[f"RAPL {_text(package / 'name')}"] = rapl(package)
        if card is not None and card.joules() is not None:
            counters["GPU"] = card.joules
        program = shutil.which("tegrastats")
        if program is not None:
            counters["board"] = stack.enter_context(tegrastats(program))
        yield counters


def rapl(package: Path) -> Joules:
    """Return what counts a package of a CPU, whose counter begins again now and then."""
    wrap = _read(package / "max_energy_range_uj") or 0
    last, turns = _read(package / "energy_uj") or 0, 0

    def count() -> float | None:
        nonlocal last, turns
        now = _read(package / "energy_uj")
        if now is None:
            return None
        turns += now < last
        last = now
        return 1e-6 * (now + turns * wrap)

    return count


@contextmanager
def tegrastats(program: str) -> Iterator[Joules]:
    """Give what adds up the power of a whole Jetson board, line by line; None where no line comes, or tells it."""
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "lines"
        with lines.open("wb") as output:
            process = subprocess.Popen(
                [program, "--interval", str(TEGRASTATS_MS)], stdout=output, stderr=subprocess.DEVNULL
            )

        def count() -> float | None:
            powers = [board_power(line) for line in lines.read_text().splitlines(keepends=True) if line.endswith("\n")]
            known = [power for power in powers if power is not None]
            is_silent = process.poll() is not None or (powers and not known)
            return None if is_silent else sum(known) * 1e-3 * TEGRASTATS_MS

        try:
            yield count
        finally:
            process.terminate()
            process.wait()


def board_power(line: str) -> float | None:
    """Return the watts of the whole board by a line of tegrastats; None where there are none in it.

    Where no rail feeds all others that is the sum of them, as jtop has it: VIN_SYS_5V0 of an AGX Orin is beside those
    of the GPU and the CPU. Source: rbonghi/jetson_stats, issues 51 and 344.
    """
    rails = {name: int(milliwatts) for name, milliwatts in _RAIL.findall(line)}
    whole = next((rails[name] for name in WHOLE if name in rails), sum(rails.values()))
    return whole * 1e-3 if rails else None


def _read(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().strip()
    return ""
