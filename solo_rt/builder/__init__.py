"""What `solo-rt build-engine` does: model in, plan out, with the accuracy gate between."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from solo_rt.builder.comparison import compare, finds_something, frames, inputs
from solo_rt.builder.compiler import BuildOptions, build, plan_key
from solo_rt.builder.labels import gives_coarse, with_labels
from solo_rt.builder.network import typed_model
from solo_rt.builder.quantise import CALIBRATION_PICTURES
from solo_rt.decoders import SemanticDecoder, SoloV2Decoder
from solo_rt.engine import Engine, open_engine
from solo_rt.engine.model_file import read_spec
from solo_rt.engine.plan import (
    SUFFIX,
    Plan,
    PlanKey,
    PlanPrecision,
    make_plan,
    plan_path,
    read_content,
    read_plan,
    write_plan,
)
from solo_rt.engine.plan_cache import check_notes, check_trust, note_built
from solo_rt.engine.tensorrt import TensorRtEngine
from solo_rt.errors import EngineError, UsageError
from solo_rt.files import cache_folder
from solo_rt.gpu.cuda import device_count, open_gpu
from solo_rt.progress import Show
from solo_rt.spec import ModelSpec
from solo_rt.types import Frame

# Lowest share of instances found again and lowest mean mask IoU of them, by precision.
LIMITS = {"fp32": (0.99, 0.995), "fp16": (0.97, 0.98), "int8": (0.90, 0.90)}
DEFAULT_PICTURES = "test://?frames=80"  # to compare on, of the world that the shipped models know

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Built:
    """A plan, and whether it was made just now or found in the cache."""

    plan: Plan
    is_new: bool


def build_checked(
    path: Path,
    options: BuildOptions,
    *,
    output: Path | None = None,
    calibration: str | None = None,
    device: int = 0,
    is_checked: bool = True,
    rebuild: bool = False,
    show: Show = lambda done, total, phase: None,
) -> Built:
    """Build the plan of an ONNX file, compare it with the FP32 model on the calibration pictures, and return it.

    A fitting plan in the cache is returned as it is unless `rebuild`. Unless `is_checked` nothing is run, and where
    there is no card the plan is for none in particular: TensorRT for RTX makes such plans.
    Raises: UsageError, also for pictures on which the model finds nothing; EngineError, also when the plan sees too
    little; CacheError.
    """
    kept = cache_folder()  # which has to know what was built here, wherever that is
    if output is not None and output.suffix != SUFFIX:
        raise UsageError(f"--output {output}: expected a file that ends in {SUFFIX}")
    with ExitStack() as stack:
        spec = read_spec(path)
        if spec.is_int8 and options.precision != "int8":
            raise UsageError(f"{path}: it is INT8; say --int8, or give the model it was made of")
        if isinstance(spec.decoder, SoloV2Decoder) and not _decodes(path):
            raise UsageError(f"{path}: it holds no decoding operators; export it again with this solo-rt")
        # Before TensorRT, which crashes without one.
        gpu = open_gpu(device) if is_checked or device_count() else None
        if gpu is not None:
            stack.enter_context(gpu.bound())
        key = plan_key(
            path,
            options,
            gpu="" if gpu is None else gpu.name,
            cuda="" if gpu is None else gpu.cuda,
            calibration=inputs(spec, _frames(calibration)),
        )
        target = output or plan_path(kept, path, key)
        found = None if rebuild else _built_before(target, key)
        if found is not None and (found.agreement or not is_checked):
            return Built(found, False)
        check_notes()
        if is_checked:
            _check_pictures(path, calibration)
        content = build(
            typed_model(path, spec, options.precision, inputs(spec, _frames(calibration))), options, show=show
        )
        plan = make_plan(target, content, key, engine_spec(spec))
        if gpu is not None and is_checked:
            with closing(TensorRtEngine(plan, content, gpu=gpu)) as candidate:
                plan = replace(plan, agreement=_gate(path, candidate, options.precision, calibration))
        target.parent.mkdir(parents=True, exist_ok=True)
        write_plan(plan, content)
        note_built(plan)
        return Built(plan, True)


def _built_before(path: Path, key: PlanKey) -> Plan | None:
    """Return the plan at `path` if it has this key and can be opened; whatever else is there will be replaced."""
    try:
        plan = read_plan(path)
        read_content(plan)
        check_trust(plan)  # who opens a plan that was not noted is told to build it
    except EngineError as error:
        log.info("not taken: %s", error)
        return None
    return plan if plan.key == key else None


def engine_spec(spec: ModelSpec) -> ModelSpec:
    """Return the spec of a plan: what SOLOv2's operators leave is decoded already, and coarse logits are labels."""
    if gives_coarse(spec):
        return with_labels(spec)
    if not isinstance(spec.decoder, SoloV2Decoder):
        return spec
    return replace(spec, decoder=spec.decoder.detections())


def _decodes(path: Path) -> bool:
    from solo_rt.engine.onnx_file import read_onnx
    from solo_rt.engine.operators import OPERATORS

    return set(OPERATORS) <= set(read_onnx(path).operators)


def _check_pictures(model: Path, uri: str | None) -> None:
    """Raise UsageError, before the minutes of a build, where a comparison on these pictures would say nothing."""
    with closing(open_engine(model, backend="onnxruntime", device="cpu")) as reference:
        if not any(finds_something(reference, picture) for picture in _frames(uri)):
            raise UsageError(
                f"{reference.spec.name} finds nothing on the pictures of {uri or DEFAULT_PICTURES}, so that an engine "
                "cannot be compared with it; give --calib with pictures like those the model will see, or --no-check"
            )


def _frames(uri: str | None) -> Iterator[Frame]:
    return frames(uri or DEFAULT_PICTURES, CALIBRATION_PICTURES)


def _gate(model: Path, candidate: Engine, precision: PlanPrecision, uri: str | None) -> dict[str, float]:
    """Return how well an engine agrees with the FP32 model. Raises: EngineError if badly."""
    with closing(open_engine(model, backend="onnxruntime", device="cpu")) as reference:
        measured = compare(reference, candidate, _frames(uri))
    if isinstance(candidate.spec.decoder, SemanticDecoder):
        bad = measured["labels"] < (0.999 if precision != "int8" else 0.99)
    else:
        found, iou = LIMITS[precision]
        bad = measured["found"] < found or measured["mask_iou"] < iou
    if bad:
        said = ", ".join(f"{name} {value:.4f}" for name, value in measured.items())
        instead = "use --fp32" if precision != "fp32" else "report it, with what solo-rt doctor says"
        raise EngineError(f"the {precision} engine differs too much from the FP32 model ({said}); {instead}")
    return measured
