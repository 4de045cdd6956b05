"""Model files: how one is found, what is read of it without a backend, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from fakes import TINY_SPEC, write_tiny_model
from onnx import TensorProto, numpy_helper

from solo_rt.engine import find_model, model_file, open_engine, shipped_models
from solo_rt.engine.model_card import describe_model
from solo_rt.engine.onnx_file import read_metadata, read_onnx
from solo_rt.errors import EngineError, SpecError, UsageError
from solo_rt.spec import METADATA_KEY


@pytest.fixture
def tiny(tmp_path):
    """Return the path of a tiny model that the test may damage."""
    return write_tiny_model(tmp_path / "tiny.onnx")


def test_model_is_found_by_path_or_by_shipped_name(tiny, monkeypatch):
    monkeypatch.setattr(model_file, "shipped_models", lambda: {"solov2-nano": tiny})
    assert find_model() == find_model("solov2-nano") == find_model(tiny) == find_model(str(tiny)) == tiny


def test_shipped_models_are_onnx_files_with_a_spec():
    for name, path in shipped_models().items():
        assert model_file.read_spec(path).name == name


def test_unknown_name_lists_the_known_ones(tiny, monkeypatch):
    monkeypatch.setattr(model_file, "shipped_models", lambda: {"solov2-nano": tiny, "a": tiny})
    with pytest.raises(UsageError, match=r"no model named nano ships with solo-rt .there are: a, solov2-nano.; give"):
        find_model("nano")


def test_a_folder_of_the_name_of_a_shipped_model_hides_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "shipped_models", lambda: {"solov2-nano": tiny})
    (tmp_path / "solov2-nano").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("solov2-nano") == tiny


def test_missing_file_foreign_extension_and_folder_are_refused(tmp_path):
    for given, message in [
        (tmp_path / "no.onnx", "no such model file"),
        (tmp_path, "no such model file"),
        ("./nothing", "no such model file"),
    ]:
        with pytest.raises(UsageError, match=message):
            find_model(given)
    (tmp_path / "model.pth").write_bytes(b"x")
    with pytest.raises(
        UsageError, match=r"expected an .onnx file written by solo-rt export, an .engine or a .pt, got .pth"
    ):
        find_model(tmp_path / "model.pth")


def test_onnx_without_our_spec_is_refused(tmp_path):
    path = write_tiny_model(tmp_path / "foreign.onnx", spec=None)
    with pytest.raises(SpecError, match=r"expected metadata 'solo_rt.spec', found none; make the file with solo-rt ex"):
        open_engine(path)


def test_unreadable_spec_names_the_file(tiny):
    model = onnx.load(tiny)
    model.metadata_props[0].value = "{"
    onnx.save(model, tiny)
    with pytest.raises(SpecError, match=r"tiny.onnx: model spec is not JSON"):
        open_engine(tiny)


@pytest.mark.parametrize("location", ["weights.data", "../weights.data", "/etc/weights.data"])
@pytest.mark.parametrize("where", ["initializer", "constant", "branch"])
def test_weights_in_another_file_are_refused_and_never_looked_for_in_the_current_folder(
    location, where, tiny, tmp_path, monkeypatch
):
    model = onnx.load(tiny)
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "far")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    constant = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
    if where == "initializer":
        model.graph.initializer.append(tensor)
    elif where == "constant":
        model.graph.node.append(constant)
    else:
        branch = onnx.helper.make_graph([constant], "branch", [], [])
        model.graph.node.append(onnx.helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch))
    tiny.write_bytes(model.SerializeToString())
    (tmp_path / "weights.data").write_bytes(bytes(16))
    monkeypatch.chdir(tmp_path)
    for use in (read_onnx, open_engine, describe_model):
        with pytest.raises(UsageError, match=f"expected a model that holds its weights itself, got .* in {location}"):
            use(tiny)


@pytest.mark.parametrize("content", [b"", b"not an onnx file", b"\x00" * 100, b"\x3a\xff\xff\xff\xff\x7f"])
def test_file_that_is_no_onnx_is_refused(content, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=r"m.onnx: expected an ONNX model, got something else or a damaged file"):
        open_engine(path)


def test_file_cut_short_is_refused_wherever_it_ends(tiny):
    """Cut before the metadata it has no spec, cut inside a message it is damaged; never anything but one line."""
    content = tiny.read_bytes()
    for size in range(0, len(content) - 1, 7):
        tiny.write_bytes(content[:size])
        with pytest.raises((SpecError, EngineError)) as caught:
            open_engine(tiny)
        assert "\n" not in str(caught.value)


def test_reader_says_what_the_onnx_package_says(tiny):
    model, file = onnx.load(tiny), read_onnx(tiny)
    assert read_metadata(tiny) == file.metadata == {METADATA_KEY: TINY_SPEC.to_json()}
    assert file.size == tiny.stat().st_size
    assert file.opset == model.opset_import[0].version
    assert file.producer == model.producer_name
    assert sum(file.operators.values()) == len(model.graph.node)
    assert file.operators["Conv"] == sum(node.op_type == "Conv" for node in model.graph.node)
    assert file.parameters == sum(numpy_helper.to_array(tensor).size for tensor in model.graph.initializer)


def test_reader_counts_scalars_and_packed_sizes(tmp_path):
    """A scalar has no sizes and one element; a writer may pack the sizes of a tensor into one field."""
    packed = bytes([0x0A, 2, 3, 5, 0x10, 1])  # dims = [3, 5] packed, data_type = 1
    scalar = bytes([0x10, 1])
    graph = b"".join(bytes([0x2A, len(tensor)]) + tensor for tensor in (packed, scalar))
    path = tmp_path / "m.onnx"
    path.write_bytes(bytes([0x3A, len(graph)]) + graph)
    assert read_onnx(path).parameters == 16
