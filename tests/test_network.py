"""What TensorRT is given of a file, and the hash of what makes it."""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from solo_rt.builder.compiler import build
from solo_rt.builder.labels import put_labels
from solo_rt.builder.network import typed_model, without_bodies
from solo_rt.builder.precision import half_name, to_half
from solo_rt.builder.quantise import quantise
from solo_rt.engine import find_model, plan
from solo_rt.engine.model_file import read_spec
from solo_rt.engine.operators import OPERATORS
from solo_rt.engine.plan import PlanPrecision, passes_sha256


@pytest.mark.parametrize("function", [build, typed_model, without_bodies, half_name, to_half, quantise, put_labels])
def test_the_hash_is_of_every_pass(
    function: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = {path: tmp_path / path.name for path in plan.PASSES}
    for path, copy in copies.items():
        shutil.copy(path, copy)
    monkeypatch.setattr(plan, "PASSES", tuple(copies.values()))
    before = passes_sha256()
    assert (len(before), before) == (64, passes_sha256())
    with copies[Path(str(inspect.getsourcefile(function)))].open("a") as file:
        file.write("# another\n")
    assert passes_sha256() != before


def test_the_passes_take_nothing_else_of_ours_but_values() -> None:
    """A pass in a new module must be in the hash, too."""
    names = {f"solo_rt.{path.parent.name}.{path.stem}" for path in plan.PASSES}
    # The first names precisions; the second loads libraries, whose versions are in the key.
    known = names | {"solo_rt.engine.plan", "solo_rt.engine.tensorrt_library"}
    for name in names:
        sources = {value.__module__ for value in vars(sys.modules[name]).values() if inspect.isfunction(value)}
        assert {source for source in sources if source.startswith(("solo_rt.engine.", "solo_rt.builder."))} <= known


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_labels_become_uint8_by_way_of_float32(precision: PlanPrecision) -> None:
    path = find_model("fast-scnn")
    model = typed_model(path, read_spec(path), precision)
    onnx.checker.check_model(model, full_check=True)
    makers = {name: node for node in model.graph.node for name in node.output}
    labels = makers["labels"]
    before = makers[labels.input[0]]
    assert [node.op_type for node in (labels, before, makers[before.input[0]])] == ["Cast", "Cast", "ArgMax"]
    kinds = [onnx.helper.get_node_attr_value(node, "to") for node in (before, labels)]
    assert kinds == [onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8]


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
