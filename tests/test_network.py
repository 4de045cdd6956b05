"""What TensorRT is given of a file, and the hash of what makes it."""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from solo_rt.engine import find_model, network
from solo_rt.engine.base import read_spec
from solo_rt.engine.network import passes_sha256, typed_model, without_bodies
from solo_rt.engine.operators import OPERATORS
from solo_rt.engine.precision import half_name, to_half
from solo_rt.engine.quantise import quantise


@pytest.mark.parametrize("function", [typed_model, without_bodies, half_name, to_half, quantise])
def test_the_hash_is_of_every_pass(
    function: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = {path: tmp_path / path.name for path in network.PASSES}
    for path, copy in copies.items():
        shutil.copy(path, copy)
    monkeypatch.setattr(network, "PASSES", tuple(copies.values()))
    before = passes_sha256()
    assert (len(before), before) == (64, passes_sha256())
    with copies[Path(str(inspect.getsourcefile(function)))].open("a") as file:
        file.write("# another\n")
    assert passes_sha256() != before


def test_the_passes_take_nothing_else_of_ours_but_values() -> None:
    """A pass in a new module must be in the hash, too."""
    files = {path.stem for path in network.PASSES}
    known = files | {"plan"}  # names of precisions
    for stem in files:
        module = sys.modules[f"solo_rt.engine.{stem}"]
        sources = {value.__module__ for value in vars(module).values() if inspect.isfunction(value)}
        ours = {name.removeprefix("solo_rt.engine.") for name in sources if name.startswith("solo_rt.engine.")}
        assert ours <= known


def test_operators_without_bodies_are_a_copy() -> None:
    path = find_model(None)
    model = typed_model(path, read_spec(path), "fp32")
    bodies = [function.name for function in model.functions]
    bare = without_bodies(model)
    assert set(OPERATORS) <= set(bodies)
    assert not bare.functions
    assert [function.name for function in model.functions] == bodies
    assert [node.op_type for node in bare.graph.node] == [node.op_type for node in model.graph.node]
    assert isinstance(bare, onnx.ModelProto)
