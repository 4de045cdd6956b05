"""Decoding as ONNX nodes behind the heads: one file for engines that decode by themselves and for TensorRT's plugins.

The nodes `SoloDynamicConv`, `SoloMatrixNms` and `SoloMaskOut` are what `plugins/tensorrt` implements; its README is the
definition of their tensors and attributes. For everybody else each comes with a body of ordinary operators under the
same name, from `bodies`, so the file runs in any ONNX runtime. The raw heads stay outputs: an engine with our native
decoder asks for them alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, parser

from solo_rt.decoders import SoloV2Decoder
from solo_rt.engine.operators import DOMAIN, OPERATORS, VERSION
from solo_rt.spec import ModelSpec
from solo_rt.train.export.bodies import dynamic_conv, mask_out, matrix_nms

# Outputs of the file behind the heads; N is `max_instances`, h x w the grid of the mask features.
DETECTIONS = {
    "num_dets": (TensorProto.INT32, "[B, 1] instances found, at most N"),
    "det_scores": (TensorProto.FLOAT, "[B, N] best first, 0 from num_dets on"),
    "det_labels": (TensorProto.INT32, "[B, N]"),
    "det_regions": (TensorProto.INT32, "[B, N, 4] xyxy in grid cells, as Masks.regions"),
    "det_masks": (TensorProto.INT32, "[B, N, h, w / 4] four uint8 probabilities a word, lowest byte first"),
    "det_counts": (TensorProto.INT32, "[B, 2] candidates decoded and candidates found"),
}


def attach_decoder(model: ModelProto, spec: ModelSpec) -> None:
    """Put the decoding nodes and their bodies behind the heads of a SOLOv2 file, in place.

    `model` has the outputs of `SoloV2Decoder`; it keeps them and gains `DETECTIONS`. The bodies are in the opset of the
    model's own nodes, because runtimes inline them there. Raises: ValueError where the decoder is of another kind.
    """
    decoder = spec.decoder
    if not isinstance(decoder, SoloV2Decoder):
        raise ValueError(f"expected a SOLOv2 decoder, got {decoder.kind}")
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    graph = model.graph
    graph.node.extend(_nodes(spec, decoder))
    shapes = replace(spec, decoder=decoder.detections()).output_shapes
    for name, (kind, _) in DETECTIONS.items():
        graph.output.append(helper.make_tensor_value_info(name, kind, shapes[name]))
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    for text in (dynamic_conv.BODY, matrix_nms.BODY, mask_out.BODY):
        model.functions.append(_function(text, opset))


def _nodes(spec: ModelSpec, decoder: SoloV2Decoder) -> list[NodeProto]:
    """Return the three nodes, every attribute spelt out: TensorRT passes no others on."""
    k = decoder.nms_pre
    candidates = ["candidate_scores", "candidates", "det_counts", "bit_masks", "areas", "soft_sums"]
    found = ["num_dets", "det_scores", "det_labels", "det_cells", "det_slots"]
    threshold = {"mask_threshold": float(decoder.mask_threshold)}
    return [
        _node(
            OPERATORS[0],
            ["scores", "kernels", "features"],
            candidates,
            {"score_threshold": float(decoder.score_threshold), **threshold, "nms_pre": k},
        ),
        _node(
            OPERATORS[1],
            candidates,
            found,
            {
                "num_classes": len(spec.classes),
                "grids": list(decoder.grids),
                "level_strides": list(decoder.level_strides),
                "linear": int(decoder.nms_kernel == "linear"),
                "sigma": float(decoder.nms_sigma),
                "update_threshold": float(decoder.update_threshold),
                "max_instances": decoder.detections().max_instances,
            },
        ),
        _node(
            OPERATORS[2],
            ["kernels", "features", "bit_masks", "num_dets", "det_cells", "det_slots"],
            ["det_regions", "det_masks"],
            threshold,
        ),
    ]


def _node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, float | int | list[int]]
) -> NodeProto:
    # Both of the plugin attributes: from TensorRT 10.15 on their presence is what makes the plugin win over the body.
    node = helper.make_node(operator, inputs, outputs, name=operator, domain=DOMAIN)
    for name, value in [*attributes.items(), ("plugin_version", VERSION), ("plugin_namespace", "")]:
        node.attribute.append(helper.make_attribute(name, value))
    return node


def _function(text: str, opset: int) -> FunctionProto:
    function = parser.parse_function(text)
    function.attribute.extend(["plugin_version", "plugin_namespace"])  # ours to declare, as the nodes carry them
    function.opset_import[0].version = opset
    return function
