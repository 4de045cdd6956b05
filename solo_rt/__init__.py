"""Video into segmented video and data, in real time.

    import solo_rt

    for result in solo_rt.stream("cam0.avi"):
        print(result.frame.index, len(result.instances))

Importing this package loads nothing else; a name is imported from its module when it is first used.

Note [Nothing is sent]
    ONNX Runtime keeps a device id and a database of events for Microsoft in the cache folder, and OpenVINO one for
    Google Analytics in ~/intel. Both are told not to before they are imported: that is here, since every import of
    theirs is behind this one. ORT_DISABLE_TELEMETRY=0 in the environment keeps ONNX Runtime's.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solo_rt.engine import Engine, open_engine
    from solo_rt.errors import SoloRTError
    from solo_rt.pipeline import Hooks, Options, Pipeline, run, stream
    from solo_rt.pipeline.report import RunReport
    from solo_rt.render import Style
    from solo_rt.result import Result
    from solo_rt.sink import VideoOptions, open_sink
    from solo_rt.source import open_source
    from solo_rt.spec import ModelSpec
    from solo_rt.track.zone_file import read_zones
    from solo_rt.track.zones import Zone
    from solo_rt.types import Frame, Instances, SemanticMap

__version__ = "0.7.0"

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it were not installed

_HOMES = {
    "Engine": "engine",
    "Frame": "types",
    "Instances": "types",
    "ModelSpec": "spec",
    "Hooks": "pipeline",
    "Options": "pipeline",
    "Pipeline": "pipeline",
    "Result": "result",
    "RunReport": "pipeline.report",
    "SemanticMap": "types",
    "SoloRTError": "errors",
    "Style": "render",
    "VideoOptions": "sink",
    "Zone": "track.zones",
    "open_engine": "engine",
    "open_sink": "sink",
    "open_source": "source",
    "read_zones": "track.zone_file",
    "run": "pipeline",
    "stream": "pipeline",
}

__all__ = [
    "Engine",
    "Frame",
    "Hooks",
    "Instances",
    "ModelSpec",
    "Options",
    "Pipeline",
    "Result",
    "RunReport",
    "SemanticMap",
    "SoloRTError",
    "Style",
    "VideoOptions",
    "Zone",
    "open_engine",
    "open_sink",
    "open_source",
    "read_zones",
    "run",
    "stream",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'solo_rt' has no attribute {name!r}")
    return getattr(import_module(f"solo_rt.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
