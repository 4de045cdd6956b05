"""A model file in INT8, for CPUs and TensorRT alike, and what it loses of the one it was made of."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import onnx

from solo_rt.builder.comparison import FRAME_STEP, frames, inputs, measure_loss
from solo_rt.builder.network import take_decoding
from solo_rt.builder.quantise import quantise
from solo_rt.device import Device
from solo_rt.engine import Engine, cpu_candidates, open_candidate
from solo_rt.engine.fastest import Candidate
from solo_rt.engine.model_file import OnnxModel, read_spec, record_costs
from solo_rt.engine.precision import INT8_OTHERWISE, has_int8
from solo_rt.engine.threads import default_threads
from solo_rt.errors import EngineError, UsageError
from solo_rt.progress import Show
from solo_rt.types import Frame

KEPT_BACK = 4  # every fourth picture measures what the others calibrated
UNKNOWN = 1.0  # what INT8 costs until it is measured: everything

# Most that INT8 may lose, of 1. Fewer masks are found again than AP is lost: solov2-nano lost 0.054 of its masks where
# it lost 0.009 of AP, and 0.018 where that was 0.001. Labels of fast-scnn are lost as its mIoU is: 0.026 and 0.020.
MOST_LOST: Mapping[str, float] = {"AP": 0.010, "mIoU": 0.005, "masks": 0.050, "labels": 0.005}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loss:
    """What a quantised model loses: a share of `what`, a key of `MOST_LOST`."""

    what: str
    lost: float

    @property
    def is_small(self) -> bool:
        """Whether the model is worth having."""
        return self.lost <= MOST_LOST[self.what]

    def __str__(self) -> str:
        return f"{100 * self.lost:.2f} points of {self.what}"


@dataclass(frozen=True, slots=True)
class Calibration:
    """The first pictures of a source: `count` to calibrate a model with, a third as many more to compare it on."""

    uri: str
    count: int
    on_picture: Show = lambda done, total, doing: None

    def used(self) -> Iterator[Frame]:
        """Yield the pictures for the ranges. Raises: as `open_source`."""
        yield from self._share("calibrating", is_kept=False)

    def kept_back(self) -> Iterator[Frame]:
        """Yield the others. Raises: as `open_source`; UsageError where the source is too short to have any."""
        kept = 0
        for picture in self._share("comparing", is_kept=True):
            kept += 1
            yield picture
        if not kept:
            raise UsageError(
                f"--calib {self.uri}: expected {KEPT_BACK} pictures or more, or a video of more than "
                f"{(KEPT_BACK - 1) * FRAME_STEP} frames"
            )

    def _share(self, doing: str, *, is_kept: bool) -> Iterator[Frame]:
        total = self.count + self.count // (KEPT_BACK - 1)
        for index, picture in enumerate(frames(self.uri, total)):
            if (index % KEPT_BACK == KEPT_BACK - 1) == is_kept:
                yield picture
            self.on_picture(index + 1, total, doing)


def write_int8(source: Path, target: Path, calibration: Calibration) -> None:
    """Write the model at `source` to `target` in INT8, in the form that `quantise` gives it.

    Raises: UsageError for a model that is quantised or cannot be, and for a source without pictures; as `open_source`.
    """
    spec, model = read_spec(source), onnx.load(source)
    if spec.is_int8:
        raise UsageError(f"{source}: it is INT8 already; give the model it was made of")
    decoding = take_decoding(model)
    model = quantise(model, inputs(spec, calibration.used()))
    if not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise UsageError(
            f"{source}: expected convolutions between the first and the last ones, there is nothing to gain"
        )
    decoding.put_back(model)
    onnx.save(model, target)
    write_cost(target, source, UNKNOWN)


def write_cost(target: Path, source: Path, cost: float) -> None:
    """Note in the file at `target` that it is the model at `source` in INT8, and what that costs on this CPU.

    Measured without instructions for INT8 it is noted for CPUs that have them as well: there it is less.
    """
    costs = dict.fromkeys(("int8",) if has_int8() else ("int8", INT8_OTHERWISE), round(cost, 4))
    record_costs(target, read_spec(source), costs)


def lost_agreement(source: Path, target: Path, calibration: Calibration) -> Loss:
    """Return what the INT8 model at `target` no longer sees of what the one at `source` sees: see `lost`.

    Raises: as `Calibration.kept_back` and `open_engine`.
    """
    with closing(open_exact(source)) as reference, closing(open_exact(target)) as candidate:
        return Loss(*measure_loss(reference, candidate, calibration.kept_back()))


def open_exact(path: Path) -> Engine:
    """Return the first engine on the CPU that can compute a file, in float32 what is not INT8.

    Raises: as `open_engine`.
    """
    cpu = Device("cpu")

    def opened(candidate: Candidate, model: OnnxModel) -> Engine:
        return open_candidate(model, candidate, device=cpu, threads=default_threads(), lanes=1)

    *others, last = cpu_candidates(path, "auto", "fp32", cpu).items()
    for candidate, model in others:
        try:
            return opened(candidate, model)
        except EngineError as error:  # OpenVINO reads no deformable convolutions from ONNX files
            log.info("passed over: %s: %s", candidate, error)
    return opened(*last)
