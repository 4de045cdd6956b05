"""Before any test imports ONNX Runtime or OpenVINO: see Note [Nothing is sent]."""

from __future__ import annotations

import solo_rt  # noqa: F401
