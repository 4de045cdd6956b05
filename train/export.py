"""From a checkpoint to one self-describing ONNX file, checked against the network it came from.

The exported graph is static (opset 18) and computes exactly what the network computes, rewritten where that is
cheaper: batch normalisation is folded into the convolutions, the constant coordinate channels become
constant maps added to a narrower convolution, points NMS runs on the logits, and the five levels leave as one tensor.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor

from solo_rt.errors import ExportError, UsageError
from solo_rt.spec import METADATA_KEY, InputSpec, ModelSpec, Provenance, SoloV2Decoder
from solo_rt.train.checkpoint import load_checkpoint
from solo_rt.train.data.samples import MASK_STRIDE, MEAN, STD
from solo_rt.train.data.world import World
from solo_rt.train.models import build_model
from solo_rt.train.models.solov2 import LEVEL_STRIDES, VARIANTS, SoloV2
from solo_rt.train.static import NEVER, StaticSoloV2, flatten_levels, points_nms

OPSET = 18
TOLERANCE = 1e-4  # of the largest value of a tensor
OUTPUTS = ("scores", "kernels", "features")


def export(checkpoint: Path, out: Path, *, imgsz: tuple[int, int] | None = None, batch: int = 1) -> dict[str, float]:
    """Write the model of `checkpoint` to `out` and return the relative error of each output against PyTorch.

    `imgsz` is the height and width of the network input, by default those of the variant.
    Raises: UsageError for an impossible size or checkpoint; ExportError, leaving no file, when ONNX Runtime does not
    reproduce PyTorch to 1e-4.
    """
    source = load_checkpoint(checkpoint)
    config = VARIANTS[source.model]
    height, width = imgsz or config.imgsz
    spec = ModelSpec(
        name=source.model,
        input=InputSpec(height, width, mean=MEAN, std=STD, batch=batch),
        decoder=SoloV2Decoder(grids=config.grids, level_strides=LEVEL_STRIDES, mask_stride=MASK_STRIDE),
        classes=tuple(source.classes),
        provenance=Provenance(**source.provenance),
    )
    if out.suffix != ".onnx":
        raise UsageError(f"expected an output that ends in .onnx, got {out}")
    model = build_model(source.model, len(source.classes)).eval()
    model.load_state_dict(source.weights)
    with tempfile.TemporaryDirectory(dir=_existing_folder(out)) as folder:
        part = Path(folder) / out.name
        _write_graph(model, spec, part)
        write_spec(part, spec)
        errors = parity(model, spec, part)
        if max(errors.values()) > TOLERANCE:
            raise ExportError(f"ONNX Runtime differs from PyTorch by {errors}, more than {TOLERANCE}; nothing written")
        part.replace(out)
    return errors


def write_spec(path: Path, spec: ModelSpec) -> None:
    """Put `spec` into the metadata of the ONNX file at `path`, replacing the one it has."""
    model = onnx.load(path)
    kept = {entry.key: entry.value for entry in model.metadata_props} | {METADATA_KEY: spec.to_json()}
    onnx.helper.set_model_props(model, kept)
    temporary = path.with_name(path.name + ".part")
    onnx.save(model, temporary)
    temporary.replace(path)


def record_metrics(path: Path, spec: ModelSpec, metrics: dict[str, float]) -> None:
    """Add `metrics` to the provenance of the ONNX file at `path`, whose spec is `spec`."""
    merged = {**spec.provenance.metrics, **metrics}
    write_spec(path, replace(spec, provenance=replace(spec.provenance, metrics=merged)))


def parity(model: SoloV2, spec: ModelSpec, path: Path) -> dict[str, float]:
    """Return the largest error of each output of the file at `path`, relative to the largest value in PyTorch.

    Cells whose points NMS is decided by less than the tolerance are left out: rounding may decide them either way.
    """
    image = _probe(spec)
    with torch.inference_mode():
        heads = model(image)
        expected = {
            "scores": flatten_levels([points_nms(x) for x in heads.logits]),
            "kernels": flatten_levels(heads.kernels),
            "features": heads.features,
        }
        decided = flatten_levels([_nms_margin(x) for x in heads.logits]).abs() > TOLERANCE
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = dict(zip(OUTPUTS, session.run(list(OUTPUTS), {spec.input.name: image.numpy()}), strict=True))
    errors = {}
    for name, reference in expected.items():
        difference = np.abs(np.asarray(found[name]) - reference.numpy())
        if name == "scores":
            difference = difference[decided.numpy()]
        errors[name] = float(difference.max() / reference.abs().max())
    return errors


def _nms_margin(logits: Tensor) -> Tensor:
    """Return by how much each cell of `[B, C, S, S]` beats the largest of its upper, left and upper-left neighbours."""
    padded = F.pad(logits, (1, 0, 1, 0), value=NEVER)
    neighbours = (padded[..., :-1, :-1], padded[..., :-1, 1:], padded[..., 1:, :-1])
    return logits - torch.stack(neighbours).amax(0)


def _probe(spec: ModelSpec) -> Tensor:
    """Return input with structure and with noise: a frame of the procedural world plus a little Gaussian noise."""
    size = spec.input
    scene = World(0, height=size.height, width=size.width).render(50).rgb
    normalised = (scene - np.array(size.mean)) / np.array(size.std)
    noise = np.random.default_rng(0).normal(0, 0.05, (size.batch, *normalised.shape))
    return torch.from_numpy((normalised + noise).astype(np.float32)).permute(0, 3, 1, 2).contiguous()


def _existing_folder(out: Path) -> Path:
    if not out.parent.is_dir():
        raise UsageError(f"cannot write {out}: there is no folder {out.parent}")
    return out.parent


def _write_graph(model: SoloV2, spec: ModelSpec, path: Path) -> None:
    image = torch.zeros(spec.input.batch, 3, spec.input.height, spec.input.width)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which we do not need
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's notes on its own internals
        torch.onnx.export(
            StaticSoloV2(model, image),
            (image,),
            path,
            input_names=[spec.input.name],
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    graph = onnx.load(path)
    for node in graph.graph.node:
        del node.metadata_props[:]  # where in our source each node came from: a fifth of the file
    onnx.save(graph, path)
