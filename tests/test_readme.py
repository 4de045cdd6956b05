"""The README's Python runs as written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def test_python_examples_run(tmp_path, monkeypatch, capsys):
    from solo_rt.train.data.world_files import write_videos

    write_videos(tmp_path, seed=7, size=(180, 320), frames=3)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert "0.07 s" in capsys.readouterr().out


def test_commands_named_in_the_readme_exist():
    from solo_rt.cli import commands

    named = set(re.findall(r"(?:`|^|&& )solo-rt ([a-z-]+)", README, re.MULTILINE))
    assert named <= set(commands.commands)
    assert set(commands.commands) <= named


@pytest.mark.parametrize("script", ["demo", "test", "setup", "check", "fix", "bench", "golden"])
def test_scripts_named_in_the_readme_exist_and_are_short(script):
    path = Path(__file__).resolve().parent.parent / "scripts" / script
    assert f"scripts/{script}" in README
    assert path.stat().st_mode & 0o111
    assert len(path.read_text().splitlines()) <= 25


def test_version_is_the_changelogs_newest():
    import solo_rt

    changelog = (Path(__file__).resolve().parent.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == solo_rt.__version__
