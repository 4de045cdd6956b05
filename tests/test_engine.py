from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import numpy as np
import onnx
import pytest
from backends import BACKENDS
from fakes import STREET_SPEC, TINY_SPEC, write_street_model, write_tiny_model
from onnx import TensorProto, helper, numpy_helper

from solo_rt import engine
from solo_rt.decoders import SoloV2Decoder
from solo_rt.device import Device
from solo_rt.engine import cpu_candidates, open_engine, precision, threads
from solo_rt.engine.onnxruntime import OnnxRuntimeEngine
from solo_rt.errors import EngineError, SpecError, UsageError
from solo_rt.spec import METADATA_KEY


def picture(seed=0):
    return np.random.default_rng(seed).normal(0, 1, (1, 3, 32, 64)).astype(np.float32)


def by_hand(path, image):
    """Compute the scores of the tiny model in numpy: mean colour per cell, through a sigmoid."""
    (image,) = image
    cells = [image[:, y * 8 : y * 8 + 8, x * 16 : x * 16 + 16] for y in range(4) for x in range(4)]
    cells += [image[:, y * 10 : y * 10 + 10, x * 21 : x * 21 + 21] for y in range(3) for x in range(3)]
    return 1 / (1 + np.exp(-np.stack([cell.mean((1, 2)) for cell in cells])))[None]


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_are_those_of_the_model(backend, tiny):
    engine = open_engine(tiny, backend=backend, device="cpu", threads=1)
    image = picture()
    outputs = engine.infer({"image": image})
    assert engine.spec == TINY_SPEC
    assert engine.backend == f"{backend} cpu, 1 thread"
    assert {name: array.shape for name, array in outputs.items()} == {
        "scores": (1, 25, 3),
        "kernels": (1, 25, 4),
        "features": (1, 4, 8, 16),
    }
    np.testing.assert_allclose(outputs["scores"], by_hand(tiny, image), atol=1e-6)


def test_features_are_the_same_of_every_backend(tiny):
    pytest.importorskip("openvino")
    image = picture()
    ours, theirs = (
        open_engine(tiny, backend=backend, device="cpu", precision="fp32").infer({"image": image})["features"]
        for backend in ("openvino", "onnxruntime")
    )
    assert ours.flags.c_contiguous
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "is_by_pixel"),
    [
        ([("Conv", ["image", "weights"])], True),
        ([("Conv", ["image", "weights"]), ("Relu", ["t0"])], True),
        ([("Conv", ["image", "weights"]), ("InstanceNormalization", ["t0", "ones", "ones"])], False),
        ([("Conv", ["image", "weights"]), ("GlobalAveragePool", ["t0"]), ("Relu", ["t1"])], False),
        ([("Relu", ["image"])], False),
    ],
    ids=lambda value: str(value),
)
def test_only_maps_of_convolutions_are_asked_for_by_pixel(nodes, is_by_pixel):
    """Others would be turned twice for nothing."""
    ov = pytest.importorskip("openvino")
    openvino = importlib.import_module("solo_rt.engine.openvino")
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [f"t{i}"]) for i, (kind, inputs) in enumerate(nodes)],
        "maps",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 16])],
        [helper.make_tensor_value_info(f"t{len(nodes) - 1}", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.ones(shape, np.float32), name)
            for name, shape in (("weights", (3, 3, 1, 1)), ("ones", (3,)))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (output,) = openvino.as_computed(ov.Core().read_model(model.SerializeToString())).outputs
    assert output.get_any_name().endswith(openvino.BY_PIXEL) == is_by_pixel
    assert (list(output.get_shape()) == [1, 8, 16, 3]) == is_by_pixel


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("output", ["labels", "logits"])
def test_semantic_models_give_labels_or_logits(backend, output, tmp_path):
    spec = replace(STREET_SPEC, decoder=replace(STREET_SPEC.decoder, output=output))
    engine = open_engine(write_street_model(tmp_path / "m.onnx", spec=spec), backend=backend, device="cpu", threads=1)
    image = np.random.default_rng(0).normal(0, 1, (1, 3, 24, 40)).astype(np.float32)
    found = engine.infer({"image": image})[output]
    assert found.dtype == spec.decoder.output_type(output)
    np.testing.assert_array_equal(found, image if output == "logits" else image.argmax(1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_output_of_another_type_is_refused(backend, tmp_path):
    path = write_street_model(tmp_path / "m.onnx", to=TensorProto.FLOAT)
    with pytest.raises(SpecError, match=r"m.onnx: expected uint8 in output 'labels', got float32; export again"):
        open_engine(path, backend=backend)
    spec = replace(STREET_SPEC, decoder=replace(STREET_SPEC.decoder, output="logits"))
    model = onnx.load(write_street_model(path, spec=spec))
    model.graph.node[0].CopyFrom(helper.make_node("Cast", ["image"], ["logits"], to=TensorProto.FLOAT16))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, path)
    with pytest.raises(SpecError, match=r"m.onnx: expected float32 in output 'logits', got float16; export again"):
        open_engine(path, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_belong_to_the_caller_and_inputs_are_left_alone(backend, tiny):
    engine = open_engine(tiny, backend=backend)
    first_image = picture(1)
    first = engine.infer({"image": first_image})
    before = {name: array.copy() for name, array in first.items()}
    engine.infer({"image": picture(2)})
    np.testing.assert_array_equal(first_image, picture(1))
    for name, array in first.items():
        np.testing.assert_array_equal(array, before[name])
        array += 1  # writable
    again = engine.infer({"image": first_image})
    np.testing.assert_array_equal(again["scores"], before["scores"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_closed_engine_refuses_to_infer(backend, tiny):
    engine = open_engine(tiny, backend=backend)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.infer({"image": picture()})


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>

int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
extern void *__dso_handle;

static __thread int left;  // mutexes that the ending thread gives back before it stops
static int stop_at;
static pthread_key_t key;
static sem_t reached, closed, ended;

static void begin(void *unused) { left = stop_at; }

static void end(void *unused) {
    left = 0;
    sem_post(&reached);
    sem_post(&ended);
}

void stop_in_the_end(int mutex) {
    stop_at = mutex;
    pthread_key_create(&key, end);  // called last
    pthread_setspecific(key, &key);
    __cxa_thread_atexit_impl(begin, 0, &__dso_handle);  // called first
}

void wait_for_the_stop(void) { sem_wait(&reached); }

void let_it_end(void) {
    sem_post(&closed);
    sem_wait(&ended);
}

int pthread_mutex_unlock(pthread_mutex_t *mutex) {
    int (*genuine)(pthread_mutex_t *) = dlsym(RTLD_NEXT, "pthread_mutex_unlock");
    int status = genuine(mutex);
    if (left > 0 && --left == 0) {
        sem_post(&reached);
        sem_wait(&closed);
    }
    return status;
}
"""

CLOSING = """
import ctypes, sys, threading
import numpy as np
from solo_rt.engine import open_engine

shim = ctypes.CDLL(sys.argv[1])
engine = open_engine(sys.argv[2], backend=sys.argv[3])

def work():
    engine.infer({"image": np.zeros((1, 3, 32, 64), np.float32)})
    shim.stop_in_the_end(int(sys.argv[4]))

thread = threading.Thread(target=work)
thread.start()
thread.join()
shim.wait_for_the_stop()
engine.close()
shim.let_it_end()
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
@pytest.mark.parametrize("mutex", [1, 2, 3])
@pytest.mark.parametrize("backend", BACKENDS)
def test_engine_is_closed_while_a_thread_that_called_it_ends(backend, mutex, tiny, tmp_path):
    """The shim stops the thread, which Python has joined, at a mutex that what runs at its end gives back."""
    shim = tmp_path / "shim.so"
    build = ["gcc", "-shared", "-fPIC", "-x", "c", "-o", shim, "-", "-ldl", "-lpthread"]
    subprocess.run(build, input=SHIM.encode(), check=True)
    environment = {**os.environ, "LD_PRELOAD": str(shim), "MALLOC_PERTURB_": "219"}  # no freed mutex looks free
    command = [sys.executable, "-c", CLOSING, shim, tiny, backend, str(mutex)]
    process = subprocess.run(command, env=environment, capture_output=True, timeout=20)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_input_size_is_one_line(backend, tiny):
    with pytest.raises(EngineError, match="failed on a frame: ") as caught:
        open_engine(tiny, backend=backend).infer({"image": np.zeros((1, 3, 16, 64), np.float32)})
    assert "\n" not in str(caught.value)


def test_threads_default_to_all_cores_but_one_from_three_on(monkeypatch):
    for cores, count in [(1, 1), (2, 2), (3, 2), (8, 7)]:
        monkeypatch.setattr(threads, "usable_cores", lambda n=cores: n)
        assert threads.default_threads() == count


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("count", "asked", "lanes"), [(1, None, 1), (7, None, 1), (2, 1, 1), (3, 2, 2), (5, 5, 5)])
def test_cpu_has_one_lane_unless_asked_for_more(backend, count, asked, lanes, tiny):
    engine = open_engine(tiny, backend=backend, device="cpu", threads=count, lanes=asked)
    assert engine.lanes == lanes
    shown = f"{backend} cpu, {count} thread{'s' if count > 1 else ''}"
    assert engine.backend == (f"{shown}, {lanes} lanes" if lanes > 1 else shown)


@pytest.mark.parametrize("backend", BACKENDS)
def test_lanes_called_at_once_give_what_one_gives(backend, tiny):
    """Ten threads on three lanes; the one lane has as many threads as all three, and gives the same bits."""
    engine = open_engine(tiny, backend=backend, device="cpu", lanes=3)
    alone = open_engine(tiny, backend=backend, device="cpu", threads=3)
    pictures = [picture(seed) for seed in range(40)]
    with ThreadPoolExecutor(10) as pool:
        together = list(pool.map(lambda image: engine.infer({"image": image}), pictures))
    for image, outputs in zip(pictures, together, strict=True):
        expected = alone.infer({"image": image})
        assert all(np.array_equal(outputs[name], expected[name]) for name in expected)


def test_checkpoint_has_one_lane(tmp_path, monkeypatch):
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: object())
    (tmp_path / "last.pt").write_bytes(b"")
    with pytest.raises(UsageError, match="expected 1 lane with the torch backend, got 2; export the checkpoint for mo"):
        open_engine(tmp_path / "last.pt", lanes=2)


def test_auto_reports_its_choice_once(tiny, caplog):
    with caplog.at_level(logging.INFO, "solo_rt"):
        engine = open_engine(tiny)
    assert [record.message for record in caplog.records] == [f"model tiny on {engine.backend}"]


@pytest.mark.parametrize(
    ("installed", "given", "expected"),
    [
        (True, {}, ["openvino fp32", "onnxruntime fp32"]),
        (True, {"device": "cuda"}, ["onnxruntime fp32"]),
        (False, {}, ["onnxruntime fp32"]),
        (True, {"backend": "openvino"}, ["openvino fp32"]),
        (True, {"backend": "onnxruntime"}, ["onnxruntime fp32"]),
        (True, {"precision": "bf16"}, ["openvino bf16"]),
    ],
)
def test_what_may_compute_a_model(tiny, monkeypatch, installed, given, expected):
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(precision, "has_bf16", lambda: True)
    given = {"backend": "auto", "device": "auto", "precision": "auto", **given}
    found = cpu_candidates(tiny, given["backend"], given["precision"], Device(given["device"]))
    assert [str(candidate) for candidate in found] == expected


@pytest.mark.parametrize("given", [{"backend": "onnxruntime"}, {"device": "cuda"}])
def test_only_openvino_computes_in_16_bits(tiny, monkeypatch, given):
    monkeypatch.setattr(precision, "has_bf16", lambda: True)
    with pytest.raises(UsageError, match="precision bf16: only OpenVINO has it"):
        open_engine(tiny, precision="bf16", **given)


@pytest.mark.parametrize(
    ("costs", "native", "expected"),
    [
        ({"bf16": 0.001}, True, "bf16"),
        ({"bf16": 0.0011}, True, "fp32"),
        ({}, True, "fp32"),
        ({"bf16": 0.0}, False, "fp32"),
        ({"bf16": -0.002}, True, "bf16"),
    ],
)
def test_16_bits_are_taken_unasked_where_the_cpu_has_them_and_the_model_says_they_cost_nothing(
    tmp_path, monkeypatch, costs, native, expected
):
    model = write_tiny_model(tmp_path / "tiny.onnx", spec=replace(TINY_SPEC, costs=costs))
    monkeypatch.setattr(precision, "has_bf16", lambda: native)
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: object())
    assert next(iter(cpu_candidates(model, "auto", "auto", Device("auto")))) == ("openvino", expected)


def test_16_bits_are_close_to_32_and_said(tiny):
    pytest.importorskip("openvino")
    if not precision.has_bf16():
        pytest.skip("this CPU has no bf16")
    whole, half = (open_engine(tiny, backend="openvino", precision=p, threads=1) for p in ("fp32", "bf16"))
    assert (whole.backend, half.backend) == ("openvino cpu, 1 thread", "openvino cpu, 1 thread, bf16")
    picture = {"image": np.random.default_rng(0).normal(size=(1, 3, 32, 64)).astype(np.float32)}
    for name, values in whole.infer(picture).items():
        np.testing.assert_allclose(half.infer(picture)[name], values, atol=0.05)


def test_a_precision_that_is_not_there_is_refused(tiny, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="unknown precision 'fp8'; expected one of auto, fp32, bf16, int8"):
        open_engine(tiny, precision="fp8")
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    with pytest.raises(EngineError, match="precision bf16: this CPU has no instructions for it"):
        open_engine(tiny, precision="bf16")
    (tmp_path / "x.engine").write_bytes(b"")
    with pytest.raises(UsageError, match="expected auto or fp32 with the tensorrt backend, whose files"):
        open_engine(tmp_path / "x.engine", precision="bf16")


def test_cuda_without_its_provider_is_an_error(tiny):
    for device in ("cuda", "cuda:1"):
        with pytest.raises(EngineError, match=f"device {device}: this ONNX Runtime has no CUDA provider"):
            open_engine(tiny, backend="onnxruntime", device=device)


def test_cuda_that_does_not_start_is_an_error_if_asked_for_and_a_warning_if_not(tiny, monkeypatch, caplog):
    """ONNX Runtime takes the CPU without a word when CUDA fails to start; here its provider only claims to exist."""
    from solo_rt.engine import onnxruntime as module

    genuine = module.ort.InferenceSession
    monkeypatch.setattr(module.ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(
        module.ort,
        "InferenceSession",
        lambda path, options, providers: genuine(path, options, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(EngineError, match="device cuda:0: ONNX Runtime could not start CUDA"):
        open_engine(tiny, backend="onnxruntime", device="cuda:0")
    assert open_engine(tiny, backend="onnxruntime", threads=2).backend == "onnxruntime cpu, 2 threads"
    assert "could not start CUDA and computes on the CPU" in caplog.text


def test_openvino_that_is_not_installed_is_an_error(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "solo_rt.engine.openvino", raising=False)
    with pytest.raises(EngineError, match=r"install solo-rt\[openvino\]"):
        open_engine(tiny, backend="openvino")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "tensorflow"}, "unknown backend 'tensorflow'; expected one of auto, onnxruntime, openvino"),
        ({"threads": 0}, "threads must be at least 1, and at most 1024, got 0"),
        ({"lanes": 0}, "lanes must be at least 1, and at most 1024, got 0"),
        ({"lanes": 3, "threads": 2}, "expected at least one thread per lane, got 2 for 3 lanes"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, message, tiny):
    with pytest.raises(UsageError, match=message):
        open_engine(tiny, **arguments)


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_output_names_are_refused(backend, tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx", outputs={"scores": "cate_preds"})
    with pytest.raises(SpecError, match=r"outputs: expected \['features', 'kernels', 'scores'\] from the spec, got "):
        open_engine(path, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_output_sizes_are_refused(backend, tmp_path):
    spec = replace(TINY_SPEC, decoder=SoloV2Decoder(grids=(4, 2), level_strides=(8, 16)))
    path = write_tiny_model(tmp_path / "m.onnx", spec=spec)
    with pytest.raises(SpecError, match=r"outputs: expected 'scores' \[1, 20, 3\] from the spec, got \[1, 25, 3\]"):
        open_engine(path, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_input_size_is_refused(backend, tmp_path):
    spec = replace(TINY_SPEC, input=replace(TINY_SPEC.input, width=96))
    path = write_tiny_model(tmp_path / "m.onnx", spec=spec)
    with pytest.raises(SpecError, match=r"inputs: expected 'image' \[1, 3, 32, 96\] from the spec, got \[1, 3, 32, 64"):
        open_engine(path, backend=backend)


def test_kernels_that_do_not_fit_the_features_are_refused(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx", channels=5)
    with pytest.raises(SpecError, match="expected 5 channels in output 'features' for kernels of 5, got 4"):
        open_engine(path)


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_a_damaged_graph_behind_a_sound_spec_is_one_line(backend, tmp_path):
    path, sound = tmp_path / "m.onnx", onnx.ModelProto()
    sound.metadata_props.add(key=METADATA_KEY, value=TINY_SPEC.to_json())
    path.write_bytes(bytes([0x3A, 1, 0x0F]) + sound.SerializeToString())  # a graph with a field of an unknown type
    with pytest.raises(EngineError, match=r"m.onnx: .*: expected an ONNX model, got a damaged one") as caught:
        open_engine(path, backend=backend)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_graph_the_backend_cannot_load_is_one_line(backend, tiny, tmp_path):
    model = onnx.load(tiny)
    model.graph.node[1].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(EngineError, match=r"m.onnx: .* cannot load the model: ") as caught:
        open_engine(tmp_path / "m.onnx", backend=backend)
    assert "\n" not in str(caught.value)


def test_onnxruntime_can_be_cancelled_from_another_thread(tmp_path):
    path = write_tiny_model(tmp_path / "tiny.onnx")
    endless = onnx.load(path)
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Sqrt", ["before"], ["after"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [1, 3, 32, 64]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [1, 3, 32, 64]),
        ],
    )
    for node in endless.graph.node:
        node.input[:] = ["slow" if name == "image" else name for name in node.input]
    endless.graph.initializer.append(numpy_helper.from_array(np.array(2**60), "times"))
    endless.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    endless.graph.node.insert(0, helper.make_node("Loop", ["times", "yes", "image"], ["slow"], body=body))
    onnx.save(endless, path)
    engine = OnnxRuntimeEngine(path, TINY_SPEC, device=Device.parse("cpu"), threads=1, lanes=1)  # not tried out
    timer = threading.Timer(0.5, engine.cancel)
    timer.start()
    with pytest.raises(EngineError, match="failed on a frame"):
        engine.infer({"image": np.ones((1, 3, 32, 64), np.float32)})
    timer.join()
    engine.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelling_an_idle_engine_changes_nothing(tiny, backend):
    with closing(open_engine(tiny, backend=backend)) as engine:
        engine.cancel()
        assert engine.infer({"image": np.ones((1, 3, 32, 64), np.float32)})["scores"].shape == (1, 25, 3)
    engine.cancel()
