"""The engines for ONNX files that a test goes through, those that are not installed skipped."""

from __future__ import annotations

import importlib.util

import pytest

BACKENDS = [
    "onnxruntime",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed"),
    ),
]
