"""What NVIDIA's management library knows of a card: power, clocks, temperature and why they are held down.

Source: NVML API reference, nvml.h. It comes with the driver; a Jetson has none, or one that knows little.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

# Why clocks are lower than they could be, of those that say that the card is hot or short of power (nvml.h).
_HELD_DOWN = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal",
    0x40: "hardware thermal",
    0x80: "power brake",
}
_GRAPHICS, _MEMORY = 0, 2  # clocks
_CORE = 0  # temperature sensor


class Card:
    """One card. What it does not tell is None."""

    def __init__(self, library: ctypes.CDLL, index: int) -> None:
        self._nvml = library
        self._handle = ctypes.c_void_p()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(self._handle)):
            raise OSError("no such card")

    def joules(self) -> float | None:
        """Return the energy that the card has used since its driver was loaded."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong())
        return None if millijoules is None else 1e-3 * millijoules

    def to_record(self) -> dict[str, object]:
        """Return what the card says of itself now, as JSON values."""
        driver = ctypes.create_string_buffer(96)
        name = ctypes.create_string_buffer(96)
        self._nvml.nvmlSystemGetDriverVersion(driver, len(driver))
        self._nvml.nvmlDeviceGetName(self._handle, name, len(name))
        facts = {
            "clock_mhz": self._ask("nvmlDeviceGetClockInfo", ctypes.c_uint(), _GRAPHICS),
            "memory_clock_mhz": self._ask("nvmlDeviceGetClockInfo", ctypes.c_uint(), _MEMORY),
            "temperature_c": self._ask("nvmlDeviceGetTemperature", ctypes.c_uint(), _CORE),
        }
        known = {name: value for name, value in facts.items() if value is not None}
        return {
            "name": name.value.decode(),
            "driver": driver.value.decode(),
            **known,
            "held_down_by": self.held_down_by(),
        }

    def held_down_by(self) -> list[str]:
        """Return why the card is slower than it could be; nothing where all is well or it does not say."""
        reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong()) or 0
        return [name for bit, name in _HELD_DOWN.items() if reasons & bit]

    def _ask(self, function: str, answer: ctypes.c_uint | ctypes.c_ulonglong, *arguments: int) -> int | None:
        with suppress(AttributeError):  # an older library
            if not getattr(self._nvml, function)(self._handle, *arguments, ctypes.byref(answer)):
                return int(answer.value)
        return None


def find_card(index: int) -> Card | None:
    """Return a card by its number, None where there is no such card or no NVML."""
    with suppress(OSError):
        return Card(ctypes.CDLL("libnvidia-ml.so.1"), index)
    return None
