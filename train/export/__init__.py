"""From a checkpoint to one self-describing ONNX file, checked against the network it came from.

The exported graph is static (opset 18; 19 with deformable convolutions) and computes exactly what the network computes,
rewritten where that is cheaper; how is written beside each family of networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from solo_rt.decoders import SoloDecoder, SoloV2Decoder
from solo_rt.errors import ExportError, SinkError, SoloRTError, UsageError
from solo_rt.files import replaced_file
from solo_rt.spec import Provenance
from solo_rt.train.checkpoint import Checkpoint, load_checkpoint
from solo_rt.train.checkpoint_fields import MOST_PIXELS
from solo_rt.train.export.coarse import labels_of_coarse, leave_coarse
from solo_rt.train.export.graph import TOLERANCE, StaticGraph, parity
from solo_rt.train.export.onnx_file import write_graph
from solo_rt.train.export.semantic import OutputKind, semantic_graph
from solo_rt.train.export.solo import solo_graph
from solo_rt.train.export.solov2 import solov2_graph
from solo_rt.train.models import build_model
from solo_rt.train.models.semantic import SemanticNetwork
from solo_rt.train.models.solo import Solo
from solo_rt.train.models.solov2 import SoloV2

CANDIDATES = 5  # per instance, of which the best is to be found, as in the published models: 500 and 100


def export(
    checkpoint: Path,
    out: Path,
    *,
    imgsz: tuple[int, int] | None = None,
    batch: int = 1,
    output_kind: OutputKind | None = None,
    max_det: int | None = None,
) -> dict[str, float]:
    """Write the model of `checkpoint` to `out` and return the relative error of each output against PyTorch.

    `imgsz` is the height and width of the network input, by default what the checkpoint was trained at, or those of the
    network. `output_kind` is what a semantic network gives, labels unless given; coarse logits are judged by the labels
    that the run time makes of them. Labels that differ from PyTorch's count where they are not a near tie. `max_det` is
    how many instances a picture may have, by default as many as COCO counts.
    Raises: UsageError for an impossible size, output or checkpoint; SinkError when the disk is full; ExportError, when
    ONNX Runtime does not reproduce PyTorch to 1e-4. Nothing is left behind then.
    """
    if out.suffix != ".onnx":
        raise UsageError(f"expected an output that ends in .onnx, got {out}")
    with _part_of(out) as part:
        source = load_checkpoint(checkpoint)
        graph = static_graph(source, imgsz=imgsz, batch=batch, output_kind=output_kind, max_det=max_det)
        write_graph(graph, part)
        if output_kind == "coarse":
            spec = leave_coarse(part, graph.spec)
            errors = parity(graph, part, decode=lambda found: labels_of_coarse(found, spec))
        else:
            errors = parity(graph, part)
        if not max(errors.values()) <= TOLERANCE:
            raise ExportError(f"ONNX Runtime differs from PyTorch by {errors}, more than {TOLERANCE}; nothing written")
    return errors


@contextmanager
def _part_of(out: Path) -> Iterator[Path]:
    """Give a file to write instead of `out`, whose place it takes unless something fails. Raises: as `export`."""
    with ExitStack() as stack:
        try:  # before the work
            if out.is_dir() or not out.parent.is_dir():
                why = "it is a folder" if out.is_dir() else f"there is no folder {out.parent}"
                raise UsageError(f"cannot write {out}: {why}")
            part = stack.enter_context(replaced_file(out))
            part.touch()
        except OSError as error:
            raise UsageError(f"cannot write {out}: {error.strerror}; choose another -o") from error
        try:
            yield part
        except OSError as error:
            if isinstance(error, SoloRTError):
                raise
            raise SinkError(f"cannot write {out}: {error.strerror or error}; nothing is left of it") from error


def static_graph(
    source: Checkpoint,
    *,
    imgsz: tuple[int, int] | None = None,
    batch: int = 1,
    output_kind: OutputKind | None = None,
    max_det: int | None = None,
) -> StaticGraph:
    """Return the network of a checkpoint as a graph for one input size. Raises: UsageError, SpecError."""
    if imgsz is not None and math.prod(imgsz) > MOST_PIXELS:
        raise UsageError(f"--imgsz: expected at most {MOST_PIXELS} pixels, as 4096x4096, got {imgsz[0]}x{imgsz[1]}")
    graph = _graph(source, imgsz=imgsz or source.imgsz, batch=batch, output_kind=output_kind)
    normalised, decoder = replace(graph.spec.input, mean=source.mean, std=source.std), graph.spec.decoder
    if max_det is not None:
        if not isinstance(decoder, SoloV2Decoder | SoloDecoder):
            raise UsageError(f"--max-det is for networks of instances, {source.model} labels pixels; leave it out")
        candidates = max(decoder.nms_pre, CANDIDATES * max_det)
        decoder = replace(decoder, max_instances=max_det, nms_pre=candidates)
    return replace(graph, spec=replace(graph.spec, input=normalised, decoder=decoder))


def _graph(
    source: Checkpoint, *, imgsz: tuple[int, int] | None, batch: int, output_kind: OutputKind | None
) -> StaticGraph:
    model = build_model(source.model, len(source.classes), grids=source.grids).eval()
    model.load_state_dict(source.weights)
    classes, provenance = tuple(source.classes), Provenance(**source.provenance)
    if isinstance(model, SemanticNetwork):
        return semantic_graph(
            model,
            source.model,
            classes,
            provenance,
            imgsz=imgsz or model.imgsz,
            batch=batch,
            output="logits" if output_kind == "logits" else "labels",
            palette=source.palette,
            unpainted=source.unpainted,
        )
    if output_kind is not None:
        raise UsageError(f"output kind {output_kind}: {source.model} is no semantic network; leave it out")
    if isinstance(model, SoloV2):
        return solov2_graph(model, source.model, classes, provenance, imgsz=imgsz or model.imgsz, batch=batch)
    if isinstance(model, Solo):
        return solo_graph(model, source.model, classes, provenance, imgsz=imgsz or model.imgsz, batch=batch)
    raise UsageError(f"{source.model} has no static graph")
