"""Raw network outputs to `Instances` or a `SemanticMap`: native code, with a numpy reference of every step."""

from solo_rt.decode.instances import DenseInstances, decode, decode_reference
from solo_rt.decode.semantic import decode_semantic

__all__ = ["DenseInstances", "decode", "decode_reference", "decode_semantic"]
