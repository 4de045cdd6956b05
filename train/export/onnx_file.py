"""Writing ONNX files: the graph, and the spec in its metadata."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path

import onnx
import torch

from solo_rt.decoders import SoloV2Decoder
from solo_rt.files import replace_file
from solo_rt.spec import METADATA_KEY, ModelSpec
from solo_rt.train.export import deform_node
from solo_rt.train.export.channels_last import put_classes_last
from solo_rt.train.export.decode_ops import attach_decoder
from solo_rt.train.export.graph import StaticGraph

OPSET = 18


def write_graph(graph: StaticGraph, path: Path) -> None:
    """Write the graph, with its spec, to `path`."""
    size = graph.spec.input
    module = deform_node.with_deform_nodes(graph.module)
    image = torch.zeros(size.batch, 3, size.height, size.width)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which we do not need
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's notes on its own internals
        torch.onnx.export(
            module,
            (image,),
            path,
            input_names=[size.name],
            output_names=list(graph.outputs),
            opset_version=OPSET if module is graph.module else deform_node.OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]  # where in our source each node came from: a fifth of the file
    put_classes_last(model)
    if isinstance(graph.spec.decoder, SoloV2Decoder):
        attach_decoder(model, graph.spec)
    onnx.save(model, path)
    write_spec(path, graph.spec)


def write_spec(path: Path, spec: ModelSpec) -> None:
    """Put `spec` into the metadata of the ONNX file at `path`, replacing the one it has."""
    model = onnx.load(path)
    kept = {entry.key: entry.value for entry in model.metadata_props} | {METADATA_KEY: spec.to_json()}
    onnx.helper.set_model_props(model, kept)
    replace_file(path, model.SerializeToString())


def record_metrics(path: Path, spec: ModelSpec, metrics: dict[str, float]) -> None:
    """Add `metrics` to the provenance of the ONNX file at `path`, whose spec is `spec`."""
    merged = {**spec.provenance.metrics, **metrics}
    write_spec(path, replace(spec, provenance=replace(spec.provenance, metrics=merged)))


def record_cost(path: Path, spec: ModelSpec, precision: str, cost: float) -> None:
    """Note in the ONNX file at `path`, whose spec is `spec`, what a precision costs: see `ModelSpec.costs`."""
    write_spec(path, replace(spec, costs={**spec.costs, precision: cost}))
