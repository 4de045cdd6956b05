"""TensorRT as it may be installed, and our plugins in its registry."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from solo_rt.engine import tensorrt_library
from solo_rt.engine.operators import OPERATORS
from solo_rt.engine.tensorrt_library import MODULES, Messages, import_tensorrt, load_plugins
from solo_rt.errors import EngineError


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Return a folder of modules that come before all others, and forget TensorRT."""
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / name).mkdir()  # hides what is installed, as an empty folder of that name does
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name, None)


def test_bindings_are_enough(site: Path) -> None:
    (site / "tensorrt_bindings" / "__init__.py").write_text("__version__ = '11.4'\nBuilder = IPluginV3 = None\n")
    assert import_tensorrt().__version__ == "11.4"


def test_the_package_comes_before_what_it_wraps(site: Path) -> None:
    for name in MODULES:
        (site / name / "__init__.py").write_text(f"origin = {name!r}\nBuilder = IPluginV3 = None\n")
    assert import_tensorrt().origin == "tensorrt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "^TensorRT is not installed; pip install tensorrt-cu12 or tensorrt-cu13, as docs/tensorrt.md says"),
        ("import qqq", "^TensorRT is installed but lacks qqq$"),
        (
            "raise ImportError('libnvinfer.so.10: cannot open\\nshared object file')",
            "^TensorRT is installed but cannot be loaded: libnvinfer.so.10: cannot open shared object file$",
        ),
        ("__version__ = '8.6.1'; Builder = None", "^TensorRT 8.6.1 is too old; expected 10.0 or newer$"),
    ],
)
def test_what_is_wrong_with_an_installation_is_told(site: Path, text: str, message: str) -> None:
    (site / "tensorrt" / "__init__.py").write_text(text)
    with pytest.raises(EngineError, match=message):
        import_tensorrt()


class Registry:
    """TensorRT's, which knows the creators of `known` and counts what it loads."""

    def __init__(self, *, known: tuple[str, ...] = OPERATORS, handle: object = "handle") -> None:
        self.loaded: list[str] = []
        self._known, self._handle = known, handle

    def load_library(self, path: str) -> object:
        self.loaded.append(path)
        return self._handle

    def get_creator(self, name: str, version: str, namespace: str) -> object:
        return name if (name in self._known and (version, namespace) == ("1", "")) else None

    def module(self) -> ModuleType:
        return SimpleNamespace(__version__="10.3", get_plugin_registry=lambda: self)  # type: ignore[return-value]


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a library that was not loaded before."""
    monkeypatch.setattr(tensorrt_library, "_loaded", {})
    return Path("libsolo_plugins.so")


def test_plugins_are_loaded_once(path: Path) -> None:
    registry = Registry()
    for _ in range(2):
        load_plugins(registry.module(), path)
    assert registry.loaded == [str(path)]


def test_a_library_that_tensorrt_refuses_is_named(path: Path) -> None:
    with pytest.raises(
        EngineError, match=r"^libsolo_plugins\.so: TensorRT 10\.3 cannot load the plugin library; build"
    ):
        load_plugins(Registry(handle=None).module(), path)


def test_plugins_that_are_not_in_it_are_named(path: Path) -> None:
    with pytest.raises(EngineError, match=f"expected version 1 of {', '.join(OPERATORS[1:])}, found none; build it"):
        load_plugins(Registry(known=OPERATORS[:1]).module(), path)


def test_the_first_error_since_the_last_one_is_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    class Logger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3)

    messages = Messages(SimpleNamespace(ILogger=Logger))
    assert messages.reason() == "it gave no reason"
    caplog.set_level("DEBUG", logger="solo_rt.engine.tensorrt_library")
    for level, text in ((3, "hello"), (2, "a\nwarning"), (0, "the  cause\n"), (1, "and this")):
        messages.logger.log(level, text)
    assert messages.reason() == "the cause"
    assert [record.getMessage() for record in caplog.records] == ["TensorRT: a warning"]
    messages.logger.log(1, "another frame's")
    assert messages.reason() == "another frame's"
