from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from fakes import STREET_SPEC, TINY_SPEC

from solo_rt.decoders import SemanticDecoder, SoloV2Decoder
from solo_rt.errors import SpecError
from solo_rt.spec import InputSpec, ModelSpec, Provenance


def changed(**values):
    """Return the JSON of the tiny spec with top-level fields replaced; None removes one."""
    record = {**json.loads(TINY_SPEC.to_json()), **values}
    return json.dumps({key: value for key, value in record.items() if value is not None})


def nested(part, **values):
    return changed(**{part: {**json.loads(TINY_SPEC.to_json())[part], **values}})


@pytest.mark.parametrize("spec", [TINY_SPEC, STREET_SPEC], ids=lambda spec: spec.name)
def test_spec_survives_its_json(spec):
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_json_is_one_line_that_keeps_names_readable():
    text = replace(TINY_SPEC, classes=("卡车", "Straße")).to_json()
    assert "\n" not in text
    assert "卡车" in text
    assert ModelSpec.from_json(text).classes == ("卡车", "Straße")


def test_names_and_paths_that_are_no_utf8_survive_as_escapes():
    spec = replace(TINY_SPEC, classes=("caf\udce9",), provenance=Provenance(data="folder:d\udce9p\udcf4t"))
    assert ModelSpec.from_json(spec.to_json().encode().decode()) == spec


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_no_file_could_be_read_with_are_refused(number):
    for values in ({"costs": {"int8": number}}, {"provenance": Provenance(metrics={"mIoU": number})}):
        with pytest.raises(SpecError, match="expected finite metrics and costs"):
            replace(TINY_SPEC, **values)


def test_output_shapes_follow_from_grids_classes_and_stride():
    assert TINY_SPEC.decoder.cells == 25
    assert TINY_SPEC.output_shapes == {"scores": (1, 25, 3), "kernels": (1, 25, -1), "features": (1, -1, 8, 16)}


def test_a_semantic_model_has_one_output_and_it_is_as_large_as_the_input():
    assert STREET_SPEC.output_shapes == {"labels": (1, 24, 40)}
    assert STREET_SPEC.decoder.output_type("labels") == "uint8"
    logits = replace(STREET_SPEC, decoder=replace(STREET_SPEC.decoder, output="logits"))
    assert logits.output_shapes == {"logits": (1, 3, 24, 40)}
    coarse = replace(STREET_SPEC, decoder=replace(STREET_SPEC.decoder, output="coarse"))
    assert coarse.output_shapes == {"coarse": (1, -1, -1, 3)}
    assert logits.decoder.output_type("logits") == TINY_SPEC.decoder.output_type("scores") == "float32"


def test_divisor_is_the_models_own_and_32_in_files_that_name_none():
    record = json.loads(TINY_SPEC.to_json())
    del record["input"]["divisor"]
    assert ModelSpec.from_json(json.dumps(record)).input.divisor == 32
    InputSpec(height=40, width=24, divisor=8)
    InputSpec(height=271, width=33, divisor=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "model spec is not JSON"),
        ("[]", "must be a JSON object, got list"),
        (changed(schema=99), "schema 99, this solo-rt reads 1; update solo-rt or export again"),
        (changed(schema=None), "schema None"),
        (changed(colour="red"), r"ModelSpec has unknown fields \['colour'\]; update solo-rt"),
        (changed(input=None), "expected an object for InputSpec, got NoneType"),
        (changed(input=[1]), "expected an object for InputSpec, got list"),
        (changed(name=None), "missing .*'name'.*; export the model again"),
        (nested("decoder", kind="yolo"), "decoder 'yolo', this solo-rt knows: solov2, solo, detections, semantic"),
        (changed(decoder=None), "decoder None"),
        (changed(decoder="yolo"), "decoder 'yolo'"),
        (changed(decoder="solov2"), "expected an object for SoloV2Decoder, got str"),
        (nested("decoder", flavour=1), r"SoloV2Decoder has unknown fields \['flavour'\]"),
        (nested("input", height=33), "divisible by 32, got 33x64"),
        (nested("input", height="32"), "InputSpec.height must be int, got '32'; export again"),
        (nested("decoder", grids=4), r"SoloV2Decoder.grids must be tuple\[int, ...\], got 4"),
        (nested("decoder", score_threshold=True), "score_threshold must be float, got True"),
        (nested("decoder", nms_kernel="cubic"), "nms_kernel must be Literal..gaussian., .linear.., got .cubic."),
        (nested("provenance", metrics={"AP": "high"}), "metrics must be Mapping.str, float., got"),
        (changed(name="tiny\x1b[2J"), r"a name without control characters, got 'tiny.x1b"),
        (nested("input", mean=[10**400, 0, 0]), "too large to convert to float; export the model again"),
        (changed(classes="red"), r"ModelSpec.classes must be tuple\[str, ...\], got 'red'"),
    ],
)
def test_json_that_is_no_spec_says_what_is_wrong(text, message):
    with pytest.raises(SpecError, match=message) as caught:
        ModelSpec.from_json(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"height": 0}, "positive and divisible by 32, got 0x64"),
        ({"width": 50}, "got 32x50"),
        ({"batch": 0}, "batch 0"),
        ({"width": 36, "divisor": 8}, "divisible by 8, got 32x36"),
        ({"divisor": 0}, "divisible by 0"),
        ({"std": (1.0, 0.0, 1.0)}, "three positive stds"),
        ({"mean": (1.0,)}, "three means"),
    ],
)
def test_input_that_cannot_be_is_refused(values, message):
    with pytest.raises(SpecError, match=message):
        InputSpec(**{"height": 32, "width": 64, **values})


def test_pictures_of_0_to_1_are_normalised_too():
    assert InputSpec(height=32, width=64, mean=(0.0, 0.5, 1.0), std=(1 / 255, 0.5, 1.0)).std == (1 / 255, 0.5, 1.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"grids": ()}, "one stride per grid"),
        ({"level_strides": (8,)}, "one stride per grid"),
        ({"level_strides": (8, -8)}, r"strides of at least 0, got \(8, -8\)"),
        ({"nms_kernel": "cubic"}, "expected nms_kernel gaussian or linear, got 'cubic'"),
        ({"score_threshold": 1.0}, r"score_threshold must be in \[0, 1\), got 1.0"),
        ({"mask_threshold": -0.1}, "mask_threshold must be in"),
        ({"update_threshold": float("nan")}, "update_threshold must be in"),
        ({"nms_pre": 0}, "must be positive"),
        ({"nms_sigma": 0.0}, "must be positive"),
    ],
)
def test_decoder_that_cannot_be_is_refused(values, message):
    with pytest.raises(SpecError, match=message):
        SoloV2Decoder(**{"grids": (4, 3), "level_strides": (8, 16), **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"palette": ()}, r"palette of 1\.\.255 colours, got 0"),
        ({"palette": ((0, 0, 0),) * 256}, "got 256"),
        ({"palette": ((0, 0, 256),)}, r"three values in 0\.\.255, got \(0, 0, 256\)"),
        ({"palette": ((0, 0),)}, r"three values in 0\.\.255, got \(0, 0\)"),
        ({"unpainted": (3,)}, r"unpainted classes below 3, got \(3,\)"),
        ({"output": "scores"}, "expected output labels, logits or coarse, got 'scores'"),
    ],
)
def test_semantic_decoder_that_cannot_be_is_refused(values, message):
    with pytest.raises(SpecError, match=message):
        replace(STREET_SPEC.decoder, **values)


@pytest.mark.parametrize(
    ("decoder", "values"),
    [
        (
            TINY_SPEC.decoder,
            {"score_threshold": 0.0, "mask_threshold": 0.0, "update_threshold": 0.0, "nms_sigma": 1e-3},
        ),
        (TINY_SPEC.decoder, {"level_strides": (0,) * len(TINY_SPEC.decoder.grids), "nms_pre": 1, "max_instances": 1}),
        (STREET_SPEC.decoder, {"unpainted": (0, len(STREET_SPEC.decoder.palette) - 1)}),
    ],
)
def test_the_last_values_that_can_be_are_taken(decoder, values):
    assert all(getattr(replace(decoder, **values), name) == value for name, value in values.items())


def test_every_class_has_a_colour():
    with pytest.raises(SpecError, match="model street: expected one colour per class, got 3 for 2 classes"):
        replace(STREET_SPEC, classes=("road", "sky"))
    record = json.loads(STREET_SPEC.to_json())
    record["decoder"]["palette"][1] = "red"
    with pytest.raises(SpecError, match=r"SemanticDecoder.palette must be tuple.Rgb, ...., got"):
        ModelSpec.from_json(json.dumps(record))
    assert isinstance(ModelSpec.from_json(STREET_SPEC.to_json()).decoder, SemanticDecoder)


def test_classes_must_be_there_and_distinct():
    for classes, message in [((), "at least one class"), (("a", "a"), "must be distinct, got")]:
        with pytest.raises(SpecError, match=message):
            replace(TINY_SPEC, classes=classes)


def test_what_a_decoder_is_cannot_be_set_by_a_file():
    record = json.loads(TINY_SPEC.to_json())
    record["decoder"]["task"] = "semantic"
    with pytest.raises(SpecError, match=r"SoloV2Decoder\.task must be .*, got 'semantic'"):
        ModelSpec.from_json(json.dumps(record))


@pytest.mark.parametrize("text", ["[" * 200_000, '{"schema": 1, "decoder": {"kind": ["solov2"]}}', '{"schema": NaN}'])
def test_nonsense_is_a_spec_error(text):
    with pytest.raises(SpecError):
        ModelSpec.from_json(text)


@pytest.mark.parametrize(("field", "value"), [("mean", "1e999"), ("std", "1e999"), ("std", "NaN"), ("std", "0")])
def test_numbers_that_normalise_nothing_are_refused(field, value):
    text = re.sub(rf'"{field}": \[[^,]+,', f'"{field}": [{value},', TINY_SPEC.to_json())
    with pytest.raises(SpecError):
        ModelSpec.from_json(text)
