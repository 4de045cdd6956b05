"""Our own ONNX operators, by name: what an exported file, its reader and the TensorRT plugins agree on.

`plugins/tensorrt/README.md` defines what they compute, `train/export/decode_ops.py` writes them.
"""

from __future__ import annotations

DOMAIN = "solo_rt"
OPERATORS = ("SoloDynamicConv", "SoloMatrixNms", "SoloMaskOut")
VERSION = "1"  # of each plugin; rises when its inputs, outputs or arithmetic change
