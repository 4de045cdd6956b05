"""TensorRT itself, as far as it is installed: the bindings, our plugin library and the messages of both.

Bindings can be imported on machines where TensorRT cannot work, and its runtime crashes the process where there is no
GPU instead of reporting it. So nothing here creates a TensorRT object before it is known that it can.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
from pathlib import Path
from typing import Any

from solo_rt.engine.operators import OPERATORS, VERSION
from solo_rt.errors import EngineError
from solo_rt.gpu.native_library import find_library, load_function

PLUGIN_PATH = "SOLO_RT_PLUGINS"  # environment variable: the library, where it is not found by itself
MODULES = ("tensorrt", "tensorrt_bindings")  # the package, and what it wraps, which is enough

log = logging.getLogger(__name__)
_loaded: dict[Path, object] = {}  # libraries stay loaded as long as the process: plugin objects point into them


def import_tensorrt() -> Any:
    """Return the module with TensorRT's API. Raises: EngineError where there is none, or too old a one."""
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise EngineError(f"TensorRT is installed but lacks {error.name}") from error
            continue
        except ImportError as error:  # its libraries
            raise EngineError(f"TensorRT is installed but cannot be loaded: {' '.join(str(error).split())}") from error
        if not hasattr(module, "Builder"):  # an empty folder of that name is a package, too
            continue
        if not hasattr(module, "IPluginV3"):
            raise EngineError(f"TensorRT {module.__version__} is too old; expected 10.0 or newer")
        return module
    raise EngineError(
        "TensorRT is not installed; pip install tensorrt-cu12 or tensorrt-cu13, as docs/tensorrt.md says for the card"
    )


class Messages:
    """Collects what TensorRT says; errors become part of ours, the rest is for the debug log."""

    def __init__(self, trt: Any) -> None:
        errors: list[str] = []
        severity = trt.ILogger.Severity

        class Logger(trt.ILogger):  # type: ignore[misc]
            def log(self, level: Any, text: str) -> None:
                line = " ".join(text.split())
                if level in (severity.INTERNAL_ERROR, severity.ERROR):
                    errors.append(line)
                elif level == severity.WARNING:
                    log.debug("TensorRT: %s", line)

        self.errors = errors
        self.logger = Logger()

    def reason(self) -> str:
        """Return the first thing that went wrong since the last time, which is the cause of the others."""
        reason = self.errors[0] if self.errors else "it gave no reason"
        self.errors.clear()
        return reason


def find_plugins() -> Path:
    """Return the plugin library: SOLO_RT_PLUGINS, or beside this package.

    Raises: EngineError.
    """
    return find_library("solo_plugins", PLUGIN_PATH)


def plugins_revision(path: Path) -> str:
    """Return what a plan depends on of the plugin library, whoever compiled it. Raises: EngineError."""
    revision: bytes = load_function(path, "solo_plugins_revision", [], ctypes.c_char_p)()
    return revision.decode()


def load_plugins(trt: Any, path: Path) -> None:
    """Load our plugins into TensorRT's registry, once. Raises: EngineError."""
    registry = trt.get_plugin_registry()
    if path not in _loaded:
        handle = registry.load_library(str(path))
        if handle is None:
            raise EngineError(f"{path}: TensorRT {trt.__version__} cannot load the plugin library; build it again")
        _loaded[path] = handle
    missing = [name for name in OPERATORS if registry.get_creator(name, VERSION, "") is None]
    if missing:
        raise EngineError(f"{path}: expected version {VERSION} of {', '.join(missing)}, found none; build it again")
