"""Writing ONNX files: the graph, and the spec in its metadata."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch

from solo_rt.decoders import SoloV2Decoder
from solo_rt.engine.model_file import write_spec
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
