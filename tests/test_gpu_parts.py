"""What `scripts/test-gpu` makes of its groups, and that it forgets no test that needs a card."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import gpu_parts
import pytest
from gpu_parts import PARTS, ROOT, Group, main, on_card, run_group, run_part

from solo_rt.doctor import Finding

CARD = [Finding("CUDA driver", True, "CUDA 13.0, a card")]
GROUPS = [group for groups in PARTS.values() for group in groups]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Let groups run in a folder of the test."""
    monkeypatch.setattr(gpu_parts, "FOLDER", tmp_path)
    return tmp_path


def python(code: str, *, limit_s: float = 60, **options) -> Group:
    return Group("it", (sys.executable, "-c", code), limit_s, **options)


def test_what_the_parts_name_is_there():
    for group in GROUPS:
        files = [Path(word) for word in group.command if word.endswith((".py", ".cu"))]
        assert [file for file in files if not file.is_file()] == []


@pytest.mark.slow
def test_every_test_that_needs_a_card_is_in_a_part():
    command = [sys.executable, "-m", "pytest", "-o", "addopts=-q", "--collect-only", "-m", "cuda or tensorrt", "tests"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    files = {line.split("::")[0] for line in done.stdout.splitlines() if "::" in line}
    named = {str(Path(word).relative_to(ROOT)) for group in GROUPS for word in group.command if word.endswith(".py")}
    assert files
    assert files - named == set()


def test_a_group_passes_or_fails_by_its_exit_status_and_its_output_is_kept():
    found = run_group(python("print('a table')"), 60)
    assert (found.state, found.detail, found.output) == ("passed", "", ("a table",))
    found = run_group(python("import sys; sys.exit('no')"), 60)
    assert (found.state, found.detail, found.output) == ("failed", "exit status 1", ("no",))


def test_tests_are_counted_and_those_that_fail_are_named(tmp_path):
    code = "import pytest\npytestmark = pytest.mark.cuda\ndef test_a(): pass\n"
    code += "@pytest.mark.parametrize('n', range(7))\ndef test_b(n): assert 0\n"
    names = ", ".join(f"test_b[{n}]" for n in range(5))
    (tmp_path / "test_it.py").write_text(code + "def test_c(): pytest.skip()\n")
    found = run_group(Group("it", on_card(str(tmp_path / "test_it.py")), 60), 60)
    assert (found.state, found.detail) == (
        "failed",
        f"1 passed, 1 skipped, 7 failed: {names} and 2 more; exit status 1",
    )


def test_what_runs_too_long_is_killed_with_all_it_started():
    forever = "import threading; threading.Event().wait()"
    code = f"import subprocess, sys; print('started', flush=True); subprocess.run([sys.executable, '-c', {forever!r}])"
    started = time.monotonic()
    found = run_group(python(code, limit_s=60), 6)
    assert (found.state, found.detail, found.output) == ("stopped", "it ran past 6 s", ("started",))
    assert time.monotonic() - started < 50


@pytest.mark.parametrize("name", ["no-such-program", "libnosuch.so.1", "no_such_module"])
def test_a_group_is_skipped_where_something_is_missing(name):
    found = run_group(python("raise SystemExit(1)", needs=("python3", "libc.so.6", "pytest", name)), 60)
    assert (found.state, found.detail) == ("skipped", f"there is no {name}")


def test_a_part_goes_on_after_failures_and_leaves_what_it_found(tmp_path, monkeypatch, capsys):
    groups = (python("raise SystemExit(1)"), python("print('12 us')", is_table=True))
    monkeypatch.setitem(PARTS, 1, groups)
    report = tmp_path / "part.json"
    assert not run_part(1, CARD, spent_s=100, report=report)
    content = json.loads(report.read_text())
    assert [group["state"] for group in content["groups"]] == ["failed", "passed"]
    assert content["found"][0]["detail"] == "CUDA 13.0, a card"
    assert content["seconds"] >= 100
    out = capsys.readouterr().out
    assert "\n12 us\n" in out
    assert "part 1: 1 passed, 1 failed, 0 stopped, 0 skipped in 10" in out


def test_a_part_ends_in_time(tmp_path, monkeypatch):
    monkeypatch.setitem(PARTS, 1, (python("print()"),))
    report = tmp_path / "part.json"
    assert not run_part(1, CARD, spent_s=gpu_parts.PART_S, report=report)
    assert json.loads(report.read_text())["groups"][0]["detail"] == "no time was left for it"


def test_without_a_card_versions_are_shown_and_nothing_is_run(monkeypatch, capsys):
    monkeypatch.setattr(gpu_parts, "examined", lambda: [Finding("CUDA driver", False, "no NVIDIA driver")])
    assert main(["--part", "1"]) == 1
    out, err = capsys.readouterr()
    assert "- CUDA driver" in out
    assert err == "scripts/test-gpu: expected an NVIDIA card and its driver, found none\n"
