"""How many cores a process may use: by affinity, and by the limits of its container; and whether they are busy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from solo_rt import cpu
from solo_rt.cpu import SPIN_COUNT, codec_threads, is_busy, sleeping_threads, usable_cores


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch):
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "250000 100000"}, 3),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "1600000 100000"}, 8),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/a/b", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "600000 100000"}, 4),
        ("4:cpu,cpuacct:/x\n1:pids:/", {"cpu/x/cpu.cfs_quota_us": "100", "cpu/x/cpu.cfs_period_us": "50"}, 2),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("4:cpuset:/", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("0::/", {"cpu.max": "100000 0"}, 8),
        ("0::/", {"cpu.max": "nonsense"}, 8),
        ("nonsense", {}, 8),
        (None, {}, 8),
    ],
)  # fmt: skip
def test_a_container_may_allow_fewer_cores_than_there_are(tmp_path, membership, files, expected):
    if membership is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(membership + "\n")
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert usable_cores(tmp_path) == expected


def test_it_is_where_the_process_may_run(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda pid: {5}, raising=False)
    assert usable_cores(tmp_path) == 1
    monkeypatch.delattr(cpu.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cpu.os, "cpu_count", lambda: 3)
    assert usable_cores(tmp_path) == 3


def test_the_cpu_is_called_as_it_calls_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu.platform, "processor", lambda: "")
    monkeypatch.setattr(cpu.platform, "machine", lambda: "riscv64")
    assert cpu.processor(tmp_path) == "riscv64"
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: Some: CPU\nmodel name\t: another\n")
    assert cpu.processor(tmp_path) == "Some: CPU"
    assert cpu.cpu_field("flags", tmp_path) == ""


def test_a_machine_is_busy_when_more_want_to_run_than_it_has_cores(monkeypatch):
    monkeypatch.setattr(cpu.os, "cpu_count", lambda: 4)
    for load, expected in ((0.2, False), (4.0, False), (4.3, True)):
        monkeypatch.setattr(cpu.os, "getloadavg", lambda load=load: (load, 0.0, 9.0))
        assert is_busy() == expected
    monkeypatch.delattr(cpu.os, "getloadavg")
    assert not is_busy()


def test_threads_sleep_unless_the_user_says_how_they_wait(monkeypatch):
    for name in (SPIN_COUNT, "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    with sleeping_threads():
        assert os.environ[SPIN_COUNT] == "1000"
    assert SPIN_COUNT not in os.environ
    for name, value in ((SPIN_COUNT, "7"), ("OMP_WAIT_POLICY", "active")):
        with monkeypatch.context() as patched:
            patched.setenv(name, value)
            before = dict(os.environ)
            with sleeping_threads():
                assert dict(os.environ) == before
            assert dict(os.environ) == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_memory_that_is_kept_is_not_asked_for_again():
    code = """
import resource, sys
import numpy as np
from solo_rt.cpu import keep_memory
keep_memory()
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(4 << 20)  # 8192 pages of 4 KiB
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    first, *others = map(int, child.stdout.split())
    assert min(others) < 8 <= first


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_memory_that_is_kept_lies_in_large_pages():
    choice = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not choice.exists() or "[never]" in choice.read_text():
        pytest.skip("the system has none")
    code = """
import re, sys
from solo_rt.cpu import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
block = bytearray(64 << 20)
print(sum(int(count) for count in re.findall(r"AnonHugePages: *(\\d+)", open("/proc/self/smaps").read())))
"""

    def kibibytes(how):
        child = subprocess.run(
            [sys.executable, "-c", code, how], capture_output=True, text=True, timeout=120, check=True
        )
        return int(child.stdout)

    assert kibibytes("kept") >= 60 << 10
    assert "[always]" in choice.read_text() or kibibytes("not") == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_memory_is_kept_where_no_more_may_be_promised():
    code = """
import resource
from solo_rt.cpu import keep_memory
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
keep_memory()
print(len(bytearray(64 << 20)))
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert int(child.stdout) == 64 << 20


@pytest.mark.parametrize(
    ("cores", "size", "threads"),
    [
        (1, (3840, 2160), 1), (2, (1280, 720), 1), (2, (1920, 1080), 2), (2, (64, 48), 1), (8, (1280, 720), 4),
        (8, (3840, 2160), 8), (16, (3840, 2160), 8), (1, (0, 0), 1),
    ],
)  # fmt: skip
def test_codecs_get_half_of_the_cores_and_more_for_large_pictures(monkeypatch, cores, size, threads):
    monkeypatch.setattr(cpu, "usable_cores", lambda: cores)
    assert codec_threads(*size) == threads
