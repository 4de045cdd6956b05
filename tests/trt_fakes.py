"""A TensorRT made of numpy, for the parts of the engine that are about order, buffers and errors; see card.py."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from card import CUDA, NAME, REVISION, Card, array_at

from solo_rt.engine.plan import Plan, PlanKey, machine_platform, make_plan, passes_sha256, plan_path, write_plan
from solo_rt.spec import ModelSpec

VERSION = "10.16.1.11"
Ports = Mapping[str, tuple[str, tuple[int, ...], Any]]  # mode, shape and type by name


def write_fitting(folder: Path, spec: ModelSpec, *, model: str = "tiny", **changes: object) -> Plan:
    """Write a plan for the emulated card to a folder; `changes` are of its key."""
    key = PlanKey(
        "aa", REVISION, passes_sha256(), "", "fp16", VERSION, CUDA, NAME, machine_platform(), workspace=0, level=-1
    )
    key = replace(key, **changes)
    plan = make_plan(plan_path(folder, Path(f"{model}.onnx"), key), b"plan", key, spec)
    write_plan(plan, b"plan")
    return plan


def install(
    monkeypatch: pytest.MonkeyPatch,
    card: Card,
    ports: Ports,
    compute: Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]],
) -> None:
    """Let `import tensorrt` give a module that runs `compute(inputs) -> outputs` on the card.

    A plan whose bytes are b"broken" cannot be loaded.
    """

    class Context:
        def __init__(self) -> None:
            self.addresses: dict[str, int] = {}

        def set_tensor_address(self, name: str, ptr: int) -> None:
            self.addresses[name] = ptr

        def execute_async_v3(self, handle: int) -> bool:
            def run() -> None:
                views = {name: array_at(place, *ports[name][1:]) for name, place in self.addresses.items()}
                found = compute({name: view for name, view in views.items() if ports[name][0] == "in"})
                for name, value in found.items():
                    np.copyto(views[name], value)

            return card.enqueue(handle, run)

    class Engine:
        num_io_tensors = len(ports)

        def create_execution_context(self) -> Context:
            return Context()

        def get_tensor_name(self, i: int) -> str:
            return list(ports)[i]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return ports[name][1]

        def get_tensor_dtype(self, name: str) -> Any:
            return ports[name][2]

        def get_tensor_mode(self, name: str) -> str:
            return ports[name][0]

    class Logger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
            if content == b"broken":
                self.logger.log(1, "Serialization assertion failed.\nVersion tag does not match.")
                return None
            return Engine()

    module = ModuleType("tensorrt")
    registry = SimpleNamespace(load_library=lambda path: path, get_creator=lambda *asked: asked)
    vars(module).update(
        __version__=VERSION,
        Builder=None,
        IPluginV3=None,
        ILogger=Logger,
        Runtime=Runtime,
        TensorIOMode=SimpleNamespace(INPUT="in"),
        get_plugin_registry=lambda: registry,
        nptype=lambda dtype: dtype,
    )
    monkeypatch.setitem(sys.modules, "tensorrt", module)
