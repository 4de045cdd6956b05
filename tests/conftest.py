"""Before any test imports ONNX Runtime or OpenVINO: see Note [Nothing is sent]."""

from __future__ import annotations

import pytest

import solo_rt  # noqa: F401


@pytest.fixture
def solo(capsys):
    """Return a function that runs the command line and returns exit code, stdout and stderr."""
    from solo_rt.cli import main

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return left.value.code, shown.out, shown.err

    return run
