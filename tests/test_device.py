from __future__ import annotations

import importlib.util

import pytest
from fakes import write_tiny_model

from solo_rt.device import Device
from solo_rt.engine import BACKENDS, open_engine
from solo_rt.errors import UsageError
from solo_rt.gpu.nvcodec import gpu_of

BAD = [
    "",
    "tpu",
    "CPU",
    " cpu",
    "gpu",
    "cpu:0",
    "auto:0",
    "cuda:",
    "cuda:x",
    "cuda:-1",
    "cuda:1.0",
    "cuda:१",
    "cuda:0\n",
]
needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("auto", Device("auto")),
        ("cpu", Device("cpu")),
        ("cuda", Device("cuda")),
        ("cuda:0", Device("cuda", 0)),
        ("cuda:13", Device("cuda", 13)),
    ],
)
def test_a_device_is_written_as_it_is_read(text, device):
    assert Device.parse(text) == device
    assert str(device) == text


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_refuses_a_bad_text_in_the_same_words(backend, text, tmp_path):
    path = write_tiny_model(tmp_path / "tiny.onnx")
    with pytest.raises(UsageError) as refused:
        open_engine(path, backend=backend, device=text)
    assert str(refused.value) == f"unknown device {text!r}; expected auto, cpu, cuda or cuda:N"


@pytest.mark.parametrize("text", BAD)
def test_video_engines_refuse_a_bad_text_too(text):
    with pytest.raises(UsageError, match=r"unknown device .*; expected auto, cpu, cuda or cuda:N"):
        gpu_of(text)


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    [
        ("tensorrt", "cpu", "device cpu: expected auto, cuda or cuda:N with the tensorrt backend"),
        pytest.param("openvino", "cuda:1", "device cuda:1: expected auto or cpu with the openv", marks=needs_openvino),
    ],
)
def test_a_backend_refuses_the_devices_it_cannot_use(backend, device, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        open_engine(write_tiny_model(tmp_path / "tiny.onnx"), backend=backend, device=device)
