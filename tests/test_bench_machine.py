"""What a measurement ran on: the machine's own words, its load, its energy, its card."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest
from children import wait_until

from solo_rt.bench import energy, load, machine, meter
from solo_rt.bench.energy import open_counters, rapl
from solo_rt.bench.laps import Lap
from solo_rt.bench.load import LoadWatch
from solo_rt.bench.machine import describe_machine
from solo_rt.bench.meter import metered
from solo_rt.bench.nvml import Card


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_machine_is_described_in_its_own_words(tmp_path):
    files = {
        "proc/cpuinfo": "model name\t: Chip 9\nflags\t\t: fpu avx2 sse amx_bf16\ncpu MHz\t\t: 2400.5\n",
        "proc/meminfo": "MemTotal:       8000000 kB\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1800000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3600000\n",
    }
    found = describe_machine(None, write(tmp_path, files))
    assert (found["cpu"], found["flags"], found["memory_mb"]) == ("Chip 9", ["avx2", "amx_bf16"], 8000)
    assert (found["governor"], found["frequency_mhz"], found["highest_mhz"]) == ("powersave", 1800.0, 3600.0)
    assert found["versions"]["numpy"]
    assert {"gpu", "board", "power_mode"}.isdisjoint(found)


@pytest.mark.parametrize("package", ["openvino", "tensorrt-cu13", "tensorrt-cu12", "torch"])
def test_what_computes_is_among_the_versions_as_pip_knows_it(tmp_path, monkeypatch, package):
    about = f"Metadata-Version: 2.1\nName: {package}\nVersion: 98.7\n"
    monkeypatch.syspath_prepend(write(tmp_path, {f"{package.replace('-', '_')}-98.7.dist-info/METADATA": about}))
    assert describe_machine(None, tmp_path)["versions"][package] == "98.7"


def test_a_jetson_says_its_board_and_power_mode(tmp_path, monkeypatch):
    program = tmp_path / "nvpmodel"
    program.write_text("#!/bin/sh\necho 'NV Power Mode: MAXN'\n")
    program.chmod(0o755)
    monkeypatch.setattr(machine.shutil, "which", lambda name: str(program))
    files = {"proc/cpuinfo": "Features\t: fp asimd asimddp\n", "proc/device-tree/model": "Jetson Orin Nano\0"}
    found = describe_machine(None, write(tmp_path, files))
    assert (found["board"], found["power_mode"]) == ("Jetson Orin Nano", "MAXN")
    assert found["flags"] == ["asimd", "asimddp"]


def test_what_a_machine_does_not_tell_is_left_out(tmp_path):
    found = describe_machine(None, tmp_path)
    assert found["flags"] == []
    assert {"frequency_mhz", "governor", "memory_mb"}.isdisjoint(found)


@pytest.fixture
def clock(monkeypatch):
    """Return the time as the load watch sees it, on a machine of four cores."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(load.time, "monotonic", lambda: now.seconds)
    monkeypatch.setattr(load.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(load.os, "sysconf", lambda name: 100)
    monkeypatch.setattr(load, "usable_cores", lambda root: 4)
    return now


def ticks(root, *, busy, own, child=0, average="1.0 1.0 1.0 1/1 1", throttled=0):
    process = "1 (a b) c) S " + "0 " * 10 + "{} 0 0 0 0"
    return write(
        root,
        {
            "proc/stat": f"cpu {busy} 0 0 9 9 0 0 0 0 0\n",
            "proc/self/stat": process.format(own),
            "proc/77/stat": process.format(child),
            "proc/loadavg": average,
            "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": str(throttled),
        },
    )


def test_a_quiet_machine_is_reliable(tmp_path, clock):
    watch = LoadWatch(root=ticks(tmp_path, busy=1000, own=100))
    clock.seconds = 10.0  # of four cores: 4000 ticks
    ticks(tmp_path, busy=3300, own=1300, child=1000)
    found, reasons = watch.finish(children=[77])
    assert (found["others"], reasons) == (0.025, [])
    assert found["before"] == [1.0, 1.0, 1.0]


def test_a_busy_a_loaded_and_a_hot_machine_are_not(tmp_path, clock):
    watch = LoadWatch(root=ticks(tmp_path, busy=1000, own=100, average="4.5 1 1 1/1 1"))
    clock.seconds = 10.0
    ticks(tmp_path, busy=3000, own=1000, throttled=3)
    found, reasons = watch.finish()
    assert found["others"] == 0.275
    assert reasons == [
        "the load average was 4.5 when it began, on 4 cores",
        "other processes took 28% of the CPU",
        "the CPU was throttled, too hot or short of power",
    ]


def test_a_load_of_our_own_counts_for_nothing(tmp_path, clock):
    watch = LoadWatch(root=ticks(tmp_path, busy=1000, own=100, average="4.5 1 1 1/1 1"), rested=False)
    clock.seconds = 10.0
    assert watch.finish()[1] == []


def test_where_nothing_can_be_read_nothing_is_claimed(tmp_path, clock):
    clock.seconds = 10.0
    assert LoadWatch(root=tmp_path).finish() == ({"before": [], "after": [], "others": 0.0}, [])


class FakeNvml:
    """NVML of one card at 1980 MHz, as ctypes sees it; `lacks` are functions that an old one has not."""

    def __init__(self, *, reasons=0, lacks=()):
        self.millijoules = 5000
        answers = {
            "nvmlDeviceGetClockInfo": lambda *of: {0: 1980, 2: 2619}[of[0]],
            "nvmlDeviceGetTemperature": lambda *of: 61,
            "nvmlDeviceGetTotalEnergyConsumption": lambda *of: self.millijoules,
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda *of: reasons,
        }
        for name, answer in answers.items():
            if name not in lacks:
                setattr(self, name, self._asked(answer))

    @staticmethod
    def _asked(answer):
        def function(handle, *arguments):
            arguments[-1]._obj.value = answer(*arguments[:-1])
            return 0

        return function

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        return 0 if index == 0 else 2

    def nvmlSystemGetDriverVersion(self, text, size):
        text.value = b"570.1"

    def nvmlDeviceGetName(self, handle, text, size):
        text.value = b"Fake H200"


def test_a_card_tells_its_clocks_and_why_they_are_low():
    card = Card(FakeNvml(reasons=0x40 | 0x4 | 0x1), 0)
    assert card.to_record() == {
        "name": "Fake H200",
        "driver": "570.1",
        "clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "temperature_c": 61,
        "held_down_by": ["power cap", "hardware thermal"],
    }
    assert LoadWatch(card).finish()[1][-1] == "the GPU was held down: power cap, hardware thermal"


def test_a_card_that_knows_little_is_asked_no_more():
    card = Card(FakeNvml(lacks=["nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetTemperature"]), 0)
    assert card.joules() is None
    assert "temperature_c" not in card.to_record()
    with open_counters(card) as counters:
        assert "GPU" not in counters


def test_no_such_card_is_an_error_of_the_system():
    with pytest.raises(OSError, match="no such card"):
        Card(FakeNvml(), 1)
    assert ctypes.sizeof(ctypes.c_ulonglong) == 8  # which NVML counts energy in


def test_the_counter_of_a_package_begins_again(tmp_path):
    package = write(tmp_path, {"energy_uj": "900000", "max_energy_range_uj": "1000000"})
    count = rapl(package)
    write(package, {"energy_uj": "100000"})
    assert count() == pytest.approx(1.1)
    write(package, {"energy_uj": "400000"})
    assert count() == pytest.approx(1.4)
    (package / "energy_uj").unlink()
    assert count() is None


def test_energy_is_counted_where_it_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(energy.shutil, "which", lambda name: None)
    zone = "sys/class/powercap/intel-rapl:0/"
    root = write(tmp_path, {f"{zone}name": "package-0\n", f"{zone}energy_uj": "7", f"{zone}max_energy_range_uj": "9"})
    with open_counters(Card(FakeNvml(), 0), root) as counters:
        assert list(counters) == ["RAPL package-0", "GPU"]
        assert counters["GPU"]() == 5.0
    with open_counters(None, tmp_path / "none") as counters:
        assert counters == {}


def test_tegrastats_adds_up_the_power_of_the_board(tmp_path, monkeypatch):
    done = tmp_path / "done"
    program = tmp_path / "tegrastats"
    line = "RAM 1/2MB CPU [1%] VDD_IN 5000mW/4800mW VDD_CPU 900mW/900mW"
    program.write_text(f"#!/bin/sh\necho '{line}'; echo '{line}'; touch {done}; exec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(energy.shutil, "which", lambda name: str(program))
    with open_counters(None, tmp_path) as counters:
        wait_until(done.exists)
        assert counters["board"]() == pytest.approx(2 * 5.0 * 0.2)


def test_tegrastats_that_has_ended_counts_nothing(tmp_path, monkeypatch):
    """As where it lacks a device: nothing would be taken for no energy."""
    program = tmp_path / "tegrastats"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(energy.shutil, "which", lambda name: str(program))
    with open_counters(None, tmp_path) as counters:
        wait_until(lambda: counters["board"]() is None, within=10)
        lap = metered(lambda seconds: Lap(1, seconds), list(counters.values()))(1.0)
    assert lap.joules is None


@pytest.mark.parametrize(
    ("line", "watts"),
    [
        ("VDD_IN 5000mW/4800mW VDD_CPU_GPU_CV 900mW/900mW VDD_SOC 1500mW/1500mW", 5.0),
        ("tj@77C VDD_GPU_SOC 3150mW/2971mW VDD_CPU_CV 14312mW/12415mW VIN_SYS_5V0 4968mW/5048mW NC 0mW/0mW", 22.43),
        ("VDD_GPU 1000mW/1mW VDD_CPU_SOC_MSS 2000mW/1mW VIN_SYS_5V0 4000mW/1mW VIN 26000mW/1mW", 26.0),
        ("RAM 1/2MB CPU [1%@729] GR3D_FREQ 0%", None),
    ],
)
def test_the_power_of_a_board_is_that_of_the_rail_before_all_others_or_of_all(line, watts):
    assert energy.board_power(line) == (None if watts is None else pytest.approx(watts))


def test_a_lap_knows_its_memory_and_its_energy(monkeypatch):
    reset = []
    monkeypatch.setattr(meter, "reset_peak", lambda: reset.append(True))
    monkeypatch.setattr(meter, "peak_bytes", lambda: 123)
    joules, unreadable = iter([10.0, 14.0]), iter([None, 3.0])
    lap = metered(lambda seconds: Lap(2, seconds), [lambda: next(joules), lambda: next(unreadable)])(1.5)
    assert lap == Lap(2, 1.5, peak_bytes=123, joules=4.0)
    assert reset == [True]
    assert metered(lambda seconds: Lap(2, seconds), [])(1.0).joules is None


def test_the_most_memory_is_what_the_kernel_says(tmp_path):
    status = write(tmp_path, {"status": "Name:\tx\nVmHWM:\t  2048 kB\n"}) / "status"
    assert meter.peak_bytes(status) == 2048 * 1024
    assert meter.peak_bytes(tmp_path / "none") is None
