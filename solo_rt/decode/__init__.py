"""Raw network outputs to `Instances` or a `SemanticMap`: native code, with a numpy reference of every step."""

from solo_rt.decode.detections import decode_detections
from solo_rt.decode.instances import decode_instances
from solo_rt.decode.semantic import decode_semantic
from solo_rt.decode.solov2 import DenseInstances, decode, decode_reference, points_nms

__all__ = [
    "DenseInstances",
    "decode",
    "decode_detections",
    "decode_instances",
    "decode_reference",
    "decode_semantic",
    "points_nms",
]
