"""Before any test imports ONNX Runtime or OpenVINO: see Note [Nothing is sent]."""

from __future__ import annotations

import os
import tempfile

import pytest
from command_line import Solo
from hypothesis import settings

import solo_rt  # noqa: F401
from solo_rt.cpu import SPIN_COUNT

_cache = tempfile.TemporaryDirectory()
os.environ["SOLO_RT_CACHE"] = _cache.name  # of this run alone, and of the processes it starts
os.environ.setdefault(SPIN_COUNT, "1000")  # on a busy machine PyTorch's threads spin for most of the time otherwise
settings.register_profile("solo-rt", deadline=None)  # how long an example takes is up to what else the machine does
settings.load_profile("solo-rt")


@pytest.fixture(autouse=True, scope="session")
def _no_measuring():
    """Let the first engine that could compute a model do so: which one is the fastest is not the same every time."""
    from solo_rt import engine

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine, "open_fastest", lambda path, candidates, open_it, **_: open_it(candidates[0]))
        yield


@pytest.fixture
def solo(capsys: pytest.CaptureFixture[str]) -> Solo:
    """Return a function that runs the command line and returns exit code, stdout and stderr."""
    from solo_rt.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return run


@pytest.fixture
def homeless(monkeypatch):
    """Let the user have no home folder, like a number that a container is run under and that no file of it names."""

    def unknown(number):
        raise KeyError(f"uid not found: {number}")

    for name in ("HOME", "SOLO_RT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.fixture
def never_hang():
    """End the whole run if a test hangs, and fail one that leaves a thread behind: see `ends_all_threads`."""
    from fakes import ends_all_threads

    with ends_all_threads():
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return the path of a tiny model, which all tests of a file leave as it is."""
    from fakes import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def _nodes():
    from ray_nodes import two_nodes

    with two_nodes() as nodes:
        yield nodes


@pytest.fixture
def cluster(_nodes):
    """Return a Ray cluster of two nodes of this machine, both there, see `ray_nodes`."""
    _nodes.complete()
    return _nodes
