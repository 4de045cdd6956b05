"""Models in INT8: what is written, what they lose, and who computes them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from command_line import Solo
from fakes import STREET_SPEC, write_deep_street_model, write_street_model, write_tiny_model
from numpy.typing import NDArray

from solo_rt import engine
from solo_rt.bench import measurement
from solo_rt.bench.comparison import differences
from solo_rt.bench.laps import Pace
from solo_rt.bench.measurement import Order, measure
from solo_rt.builder import build_checked, int8
from solo_rt.builder.comparison import compare, frames, measure_loss
from solo_rt.builder.compiler import BuildOptions
from solo_rt.builder.int8 import Calibration, Loss, lost_agreement, open_exact, write_cost, write_int8
from solo_rt.builder.network import typed_model
from solo_rt.device import Device
from solo_rt.engine import Engine, cpu_candidates, find_model, model_file, open_engine, precision, shipped_models
from solo_rt.engine.model_file import read_spec
from solo_rt.engine.onnx_file import read_metadata
from solo_rt.errors import EngineError, UsageError
from solo_rt.spec import ModelSpec
from solo_rt.train.data.pictures import write_picture
from solo_rt.types import IGNORED, Output

WORLD = "test://?size=80x48&frames=60"  # 12 pictures: 9 for the ranges, 3 to compare


@pytest.fixture
def street(tmp_path: Path) -> Path:
    return write_deep_street_model(tmp_path / "street.onnx")


@pytest.fixture
def quantised(street: Path, tmp_path: Path) -> Path:
    path = tmp_path / "street.int8.onnx"
    write_int8(street, path, Calibration(WORLD, 64))
    write_cost(path, street, 0.004)
    return path


@pytest.mark.parametrize("between", ["", "x = Relu(all)", "x = Mul(all, half)", "x = Add(all, offsets)"])
def test_openvino_computes_a_convolution_of_a_concatenation_as_it_should(between: str) -> None:
    ours = pytest.importorskip("solo_rt.engine.openvino")
    rng = np.random.default_rng(0)
    tensors = {
        "half": np.float32(0.5),
        "offsets": rng.normal(size=(1, 64, 1, 1)).astype(np.float32),
        "step": np.float32(0.05),
        "zero": np.int8(0),
        "w": rng.integers(-64, 65, (16, 64, 1, 1), np.int8),
        "w_step": np.full(16, 0.002, np.float32),
        "w_zero": np.zeros(16, np.int8),
    }
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[1, 32, 9, 7] image) => (float[1, 16, 9, 7] y) {{
            some = Relu(image)
            {"all" if between else "x"} = Concat<axis = 1>(some, image)
            {between}
            q = QuantizeLinear(x, step, zero)
            d = DequantizeLinear(q, step, zero)
            weight = DequantizeLinear<axis = 0>(w, w_step, w_zero)
            y = Conv<kernel_shape = [1, 1]>(d, weight)
        }}""")
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items() if name in used
    )
    image = 3 * rng.normal(size=(1, 32, 9, 7)).astype(np.float32)
    network = ours.ov.Core().read_model(model.SerializeToString())
    ours.quantise_whole(network)
    found = ours.ov.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image)[0]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"image": image})
    assert np.abs(found - expected).mean() < 0.001 * np.abs(expected).mean()


@pytest.mark.parametrize("backend", engine.CPU_BACKENDS)
def test_every_engine_computes_it_and_says_so(quantised: Path, backend: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    with closing(open_engine(quantised, backend=backend, threads=1)) as opened:
        assert opened.backend == f"{backend} cpu, 1 thread, int8"


def test_the_file_is_the_same_model_with_what_int8_costs(street: Path, quantised: Path) -> None:
    costs = read_spec(quantised).costs
    assert read_spec(quantised) == replace(STREET_SPEC, costs=costs)
    assert costs["int8"] == 0.004
    assert (read_spec(quantised).is_int8, read_spec(street).is_int8) == (True, False)


def test_it_loses_next_to_nothing_and_a_model_of_other_colours_nearly_all(
    street: Path, quantised: Path, tmp_path: Path
) -> None:
    calibration = Calibration(WORLD, 9)
    assert lost_agreement(street, street, calibration) == Loss("labels", 0.0)
    loss = lost_agreement(street, quantised, calibration)
    assert (loss.what, 0 < loss.lost < 0.03) == ("labels", True)
    other = onnx.load(street)
    turned = onnx.numpy_helper.to_array(other.graph.initializer[2])[::-1].copy()
    other.graph.initializer[2].CopyFrom(onnx.numpy_helper.from_array(turned, "w3"))
    onnx.save(other, tmp_path / "other.onnx")
    assert lost_agreement(street, tmp_path / "other.onnx", calibration).lost > 0.5


def test_coarse_labels_are_compared_as_they_are_seen() -> None:
    with closing(open_engine("fast-scnn", backend="onnxruntime", threads=1)) as opened:
        assert opened.spec.decoder.output == "coarse"
        pictures = list(frames(WORLD, 2))
        assert measure_loss(opened, opened, pictures) == ("labels", 0.0)
        assert measure_loss(opened, Shifted(opened), pictures)[1] > 0.5


class Shifted:
    """An engine that sees one class more strongly than it should."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.spec = engine, engine.spec

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, Output]:
        (coarse,) = self._engine.infer(inputs).values()
        coarse[..., 0] += 1e3
        return {"coarse": coarse}


def test_instances_are_compared_by_their_masks(tmp_path: Path) -> None:
    tiny = write_tiny_model(tmp_path / "tiny.onnx")
    assert lost_agreement(tiny, tiny, Calibration(WORLD, 9)) == Loss("masks", 0.0)


@pytest.mark.parametrize(("lost", "is_small"), [(0.01, True), (0.0101, False), (-0.1, True)])
def test_a_point_of_ap_may_be_lost(lost: float, is_small: bool) -> None:
    assert Loss("AP", lost).is_small == is_small


def test_a_model_that_finds_nothing_has_nothing_to_lose(tmp_path: Path) -> None:
    black = tmp_path / "black.png"
    write_picture(black, np.zeros((48, 80, 3), np.uint8))
    with (
        closing(open_engine("solov2-nano", backend="onnxruntime", threads=1)) as opened,
        pytest.raises(UsageError, match="solov2-nano finds nothing on the 1 pictures of --calib"),
    ):
        measure_loss(opened, opened, frames(str(black), 9))


def test_what_is_compared_was_not_calibrated_with() -> None:
    calibration = Calibration(WORLD, 6)
    used, kept = ([frame.index for frame in share()] for share in (calibration.used, calibration.kept_back))
    assert (used, kept) == ([0, 5, 10, 20, 25, 30], [15, 35])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of four pictures."""
    (tmp_path / "pictures").mkdir()
    for number, picture in enumerate(frames(WORLD, 4)):
        write_picture(tmp_path / "pictures" / f"{number}.png", picture.planes[0])
    return tmp_path / "pictures"


def test_of_a_folder_every_picture_is_taken(folder: Path) -> None:
    assert [frame.name for frame in frames(str(folder), 64)] == ["0.png", "1.png", "2.png", "3.png"]
    assert len(list(frames(str(folder), 3))) == 3
    calibration = Calibration(str(folder), 64)
    used, kept = ([frame.name for frame in share()] for share in (calibration.used, calibration.kept_back))
    assert (used, kept) == (["0.png", "1.png", "2.png"], ["3.png"])


def test_what_cannot_be_read_is_said_once(
    street: Path, folder: Path, tmp_path: Path, solo: Solo, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "4.png").write_bytes(b"broken")
    assert solo("quantize", str(street), "--calib", str(folder), "-o", str(tmp_path / "x.onnx"), "--force")[0] == 0
    (said,) = caplog.messages
    assert "1 unreadable pictures were skipped" in said


def test_four_pictures_are_enough_for_the_command(street: Path, folder: Path, tmp_path: Path, solo: Solo) -> None:
    output = tmp_path / "small.onnx"
    code, _, err = solo("quantize", str(street), "--calib", str(folder), "-o", str(output), "--force")
    assert (code, output.is_file()) == (0, True), err


class Labels:
    """An engine that gives every picture the same labels, row by row."""

    def __init__(self, *rows: int) -> None:
        self.spec: ModelSpec = STREET_SPEC
        self._labels = np.repeat(np.array([rows], np.uint8)[:, :, None], STREET_SPEC.input.width, axis=2)

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, Output]:
        return {"labels": self._labels}


def test_pixels_without_a_class_count_where_only_one_gives_them_none() -> None:
    # Of 24 rows both give 6 the class 0, 6 the class 1, and 3 none; 6 have a class of the one only, 3 of the other.
    one = Labels(*[0] * 12, *[1] * 6, *[IGNORED] * 6)
    other = Labels(*[0] * 6, *[IGNORED] * 6, *[1] * 6, *[2] * 3, *[IGNORED] * 3)
    pictures = list(frames(WORLD, 2))
    found = compare(one, other, pictures)
    assert found == {"labels": pytest.approx(12 / 21), "label_iou": pytest.approx((6 / 12 + 6 / 6 + 0 / 3) / 3)}
    assert compare(other, one, pictures) == found
    assert measure_loss(one, one, pictures) == ("labels", 0.0)
    nothing = Labels(*[IGNORED] * 24)
    assert compare(nothing, nothing, pictures) == {"labels": 1.0, "label_iou": 1.0}
    assert compare(one, nothing, pictures) == {"labels": 0.0, "label_iou": 0.0}


def test_nothing_to_compare_is_full_agreement(street: Path) -> None:
    with closing(open_engine(street, backend="onnxruntime")) as opened:
        assert compare(opened, opened, []) == {"labels": 1.0, "label_iou": 1.0}


def test_tensorrt_takes_its_ranges_and_nothing_but_int8_of_it(quantised: Path) -> None:
    kept = typed_model(quantised, read_spec(quantised), "int8")
    same, found = (
        [node.op_type for node in model.graph.node if node.op_type not in ("Cast", "Resize", "ArgMax")]
        for model in (onnx.load(quantised), kept)
    )
    assert found == same
    with pytest.raises(UsageError, match="it is INT8; say --int8"):
        build_checked(quantised, BuildOptions(), is_checked=False)


@pytest.fixture
def shipped(street: Path, quantised: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a shipped model that ships in INT8 too."""
    monkeypatch.setattr(model_file, "shipped_models", lambda: {"street": street})
    return street


def candidates(path: Path, backend: str = "auto", precision: engine.Precision = "auto") -> list[str]:
    return [str(candidate) for candidate in cpu_candidates(path, backend, precision, Device("auto"))]


def test_what_ships_beside_a_model_is_one_of_its_candidates_if_it_costs_as_little_as_bf16_may(
    shipped: Path, quantised: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(precision, "has_int8", lambda: True)
    assert candidates(shipped) == ["openvino fp32", "onnxruntime fp32"]
    write_cost(quantised, shipped, 0.001)
    assert candidates(shipped) == ["openvino fp32", "openvino int8", "onnxruntime fp32"]
    assert candidates(shipped, "onnxruntime") == ["onnxruntime fp32"]
    assert candidates(shipped, precision="fp32") == ["openvino fp32", "onnxruntime fp32"]


@pytest.mark.parametrize("native", [True, False])
def test_what_it_costs_is_noted_for_the_cpu_it_was_measured_on_and_for_better_ones(
    native: bool, shipped: Path, quantised: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(int8, "has_int8", lambda: native)
    write_cost(quantised, shipped, 0.0)
    assert read_spec(quantised).costs == {"int8": 0.0} | ({} if native else {"int8_avx2": 0.0})
    monkeypatch.setattr(precision, "has_int8", lambda: True)
    assert "openvino int8" in candidates(shipped)
    monkeypatch.setattr(precision, "has_int8", lambda: False)
    assert ("openvino int8" in candidates(shipped)) == (not native)
    assert ("int8" in precision.costs_here(read_spec(quantised))) == (not native)
    assert candidates(shipped, "openvino", "int8") == candidates(quantised, "openvino") == ["openvino int8"]


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "fma avx2 avx512f avx512_bf16", False),
        ("x86_64", "fma avx2 avx_vnni", True),
        ("x86_64", "avx512f avx512_vnni", True),
        ("AMD64", "", False),  # Windows tells no flags
        ("aarch64", "", True),
    ],
)
def test_which_cpus_have_instructions_for_it(
    machine: str, flags: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision.platform, "machine", lambda: machine)
    monkeypatch.setattr(precision, "cpu_field", lambda name: flags)
    assert precision.has_int8.__wrapped__() is expected


@pytest.mark.parametrize(
    ("held_to", "int8", "bf16"),
    [
        ("", True, True),
        ("AVX512_CORE_AMX", True, True),
        ("AVX512_CORE_VNNI", True, False),
        ("avx2_vnni", True, False),
        ("AVX512_CORE", False, False),
        ("avx2", False, False),
    ],
)
def test_what_the_engines_must_do_without_the_cpu_has_not(
    held_to: str, int8: bool, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(precision, "cpu_field", lambda name: "avx2 avx_vnni avx512_vnni avx512_bf16 amx_int8 amx_bf16")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", held_to)
    assert (precision.has_int8.__wrapped__(), precision.has_bf16.__wrapped__()) == (int8, bf16)


def test_int8_that_is_asked_for_is_that_file_whatever_it_costs(shipped: Path) -> None:
    assert candidates(shipped, "onnxruntime", "int8") == ["onnxruntime int8"]
    with closing(open_engine(shipped, backend="onnxruntime", precision="int8", threads=1)) as opened:
        assert opened.backend == "onnxruntime cpu, 1 thread, int8"


def test_a_file_of_ones_own_is_int8_if_it_is_named(street: Path, quantised: Path) -> None:
    assert candidates(quantised, "onnxruntime") == ["onnxruntime int8"]
    with pytest.raises(UsageError, match="that is another file; make it with solo-rt quantize"):
        open_engine(street, precision="int8")


def test_a_file_in_int8_is_not_computed_as_fp32_but_to_measure_it(street: Path, quantised: Path) -> None:
    with pytest.raises(
        UsageError, match=r"street\.int8\.onnx: precision fp32: the file is INT8; leave it out, or give"
    ):
        open_engine(quantised, precision="fp32")
    open_engine(street, precision="fp32").close()
    with closing(open_exact(quantised)) as opened:
        assert opened.backend.endswith(", int8"), "and nothing in bf16"


def test_a_benchmark_names_the_file_that_was_computed(
    shipped: Path, quantised: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "QUICK", Pace(seconds=0.02, least=2, most=2))
    of = [
        measure(
            Order(str(path), "test://?size=80x48&frames=20&fps=200", "onnxruntime", "cpu", asked, quick=True),
            stop=threading.Event(),
        )
        for path, asked in ((shipped, "fp32"), (shipped, "int8"), (quantised, "auto"))
    ]
    assert [one["model"]["file"] for one in of] == ["street.onnx", "street.int8.onnx", "street.int8.onnx"]
    assert of[0]["model"]["sha256"] != of[1]["model"]["sha256"] == of[2]["model"]["sha256"]
    assert differences(of[0], of[1]) == ["the files of street are not the same"]


def test_what_a_file_says_of_itself_is_read_once(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(model_file, "read_metadata", lambda path: (read.append(path), read_metadata(path))[1])
    open_engine(shipped, threads=1).close()
    assert read == [shipped, shipped.with_suffix(model_file.INT8_SUFFIX)]


def test_the_shipped_files_are_made_of_one_another() -> None:
    for path in shipped_models().values():
        beside = path.with_suffix(model_file.INT8_SUFFIX)
        if beside.is_file():
            costs = read_spec(beside).costs
            assert read_spec(beside) == replace(read_spec(path), costs=costs)
            assert costs["int8"] <= precision.MOST_LOST


def test_the_command_writes_a_file_that_runs(street: Path, tmp_path: Path, solo: Solo) -> None:
    output = tmp_path / "small.onnx"
    code, out, _ = solo("quantize", str(street), "--calib", WORLD, "-o", str(output), "--force", "--json")
    said = json.loads(out)
    assert (code, said["output"], said["bytes"], said["metric"]) == (0, str(output), output.stat().st_size, "labels")
    assert read_spec(output).costs["int8"] == round(said["lost"], 4)
    assert ", int8," in solo("inspect", str(output))[1]
    code, _, err = solo("run", "--model", str(output), "--source", WORLD, "--max-frames", "2")
    assert (code, "street on" in err, ", int8" in err) == (0, True, True)


def test_what_openvino_cannot_read_is_measured_by_onnx_runtime(street: Path, tmp_path: Path, solo: Solo) -> None:
    pytest.importorskip("openvino")
    model, size = onnx.load(street), STREET_SPEC.input
    stored = {
        "w4": np.eye(3, dtype=np.float32)[:, :, None, None],
        "shifts": np.zeros((1, 2, size.height, size.width), np.float32),
    }
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in stored.items())
    model.graph.node.insert(4, onnx.helper.make_node("DeformConv", ["d", "w4", "shifts"], ["e"], kernel_shape=[1, 1]))
    model.graph.node[5].input[0] = "e"
    model.opset_import[0].version = 19
    onnx.save(model, street)
    output = tmp_path / "small.onnx"
    code, _, err = solo("quantize", str(street), "--calib", WORLD, "-o", str(output), "--force")
    assert (code, read_spec(output).is_int8) == (0, True), err
    with pytest.raises(EngineError, match=r"OpenVINO cannot load the model: No conversion rule .* DeformConv-19$"):
        open_engine(street, backend="openvino")


def test_its_cost_is_not_recorded_in_the_file_it_was_made_of(shipped: Path, solo: Solo) -> None:
    code, _, err = solo("eval", "--model", str(shipped), "--data", "folder:none", "--precision", "int8", "--record")
    assert (code, "what INT8 costs stands in the INT8 file" in err) == (2, True)


@pytest.mark.parametrize("asked", ["auto", "fp32", "bf16"])
def test_a_file_in_int8_keeps_the_numbers_of_what_it_was_made_of(quantised: Path, asked: str, solo: Solo) -> None:
    code, _, err = solo("eval", "--model", str(quantised), "--data", "folder:none", "--precision", asked, "--record")
    assert (code, "what INT8 costs stands in the INT8 file" in err) == (2, True)


def write_labelled(data: Path, labels: NDArray[np.uint8]) -> None:
    """Write a data set of one picture."""
    picture = np.random.default_rng(0).integers(0, 256, (*labels.shape, 3), np.uint8)
    for kind, pixels, suffix in (("images", picture, ".jpg"), ("labels", labels, ".png")):
        (data / kind).mkdir(parents=True)
        write_picture(data / kind / f"a{suffix}", pixels)
    (data / "classes.json").write_text(json.dumps({"classes": STREET_SPEC.classes}))


def test_labels_measure_it_where_there_are_any(street: Path, tmp_path: Path, solo: Solo) -> None:
    data = tmp_path / "data"
    write_labelled(data, np.random.default_rng(1).integers(0, 3, (24, 40), np.uint8))
    output = tmp_path / "small.onnx"
    code, out, err = solo(
        "quantize", str(street), "--calib", WORLD, "-o", str(output), "--data", f"folder:{data}", "--force", "--json"
    )
    assert code == 0, err
    said = json.loads(out)
    assert said["metric"] == "mIoU"
    assert said["lost"] == pytest.approx(said["float"] - said["int8"])


def test_labels_of_nothing_say_nothing_about_what_it_loses(street: Path, tmp_path: Path, solo: Solo) -> None:
    write_labelled(tmp_path / "data", np.full((24, 40), 255, np.uint8))
    output = tmp_path / "small.onnx"
    code, _, err = solo(
        "quantize", str(street), "--calib", WORLD, "-o", str(output), "--data", f"folder:{tmp_path / 'data'}", "--force"
    )
    assert (code, "finds nothing that is labelled there" in err, output.exists()) == (2, True, False)


def test_what_loses_too_much_is_not_written(
    street: Path, tmp_path: Path, solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "lost_agreement", lambda *_: Loss("labels", 0.0312))
    code, _, err = solo("quantize", str(street), "--calib", WORLD, "-o", str(tmp_path / "small.onnx"))
    assert code == 5
    assert "INT8 loses 3.12 points of labels, more than 0.5, nothing is written" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["street.onnx"]


def test_ctrl_c_leaves_nothing(street: Path, tmp_path: Path, solo: Solo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = sorted(tmp_path.rglob("*"))

    def interrupted(*_: object) -> Loss:
        raise KeyboardInterrupt

    monkeypatch.setattr(int8, "lost_agreement", interrupted)
    assert solo("quantize", str(street), "--calib", WORLD, "-o", str(tmp_path / "small.onnx"))[0] == 130
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("STREET", "-o", "x.onnx", "--calib", "EMPTY"), "EMPTY"),
        (("STREET", "-o", "x.onnx", "--calib", "test://?size=80x48&frames=15"), "a video of more than 15 frames"),
        (("STREET", "-o", "x.txt", "--calib", WORLD), "that ends in .onnx"),
        (("STREET", "-o", "STREET", "--calib", WORLD), "expected another file than the model"),
        (("STREET", "-o", "none/x.onnx", "--calib", WORLD), "there is no folder none"),
        (("STREET", "-o", "x.onnx", "--calib", WORLD, "--data", "folder:none"), "none"),
        (("x.pt", "-o", "x.onnx", "--calib", WORLD), "expected an .onnx file"),
        (("SHALLOW", "-o", "x.onnx", "--calib", WORLD), "there is nothing to gain"),
        (("INT8", "-o", "x.onnx", "--calib", WORLD), "it is INT8 already"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    arguments: tuple[str, ...],
    message: str,
    street: Path,
    quantised: Path,
    tmp_path: Path,
    solo: Solo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.pt").touch()
    shallow = write_street_model(tmp_path / "shallow.onnx")
    named = {"STREET": str(street), "EMPTY": "empty", "SHALLOW": str(shallow), "INT8": str(quantised)}
    code, _, err = solo("quantize", *(named.get(word, word) for word in arguments))
    lines = err.strip().splitlines()
    assert (code in (2, 3), len(lines)) == (True, 1), err
    assert named.get(message, message) in lines[0]
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_said_before_the_work(street: Path, tmp_path: Path, solo: Solo) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    code, _, err = solo("quantize", str(street), "--calib", WORLD, "-o", str(tmp_path / "locked" / "x.onnx"))
    assert (code, "cannot be written" in err) == (2, True)


@pytest.mark.slow
def test_the_default_model_keeps_its_masks(tmp_path: Path, solo: Solo) -> None:
    output = tmp_path / "nano.int8.onnx"
    code, out, _ = solo(
        "quantize", "solov2-nano", "--calib", "test://?seed=500&frames=425", "-o", str(output), "--json"
    )
    said = json.loads(out)
    assert (code, said["metric"], said["lost"] < 0.04) == (0, "masks", True)
    assert output.stat().st_size < 0.4 * find_model("solov2-nano").stat().st_size
