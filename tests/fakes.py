"""Stand-ins for what a run needs, each a few lines, and a real but tiny model."""

from __future__ import annotations

import faulthandler
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
import onnx
from children import wait_until
from onnx import TensorProto, helper, numpy_helper

from solo_rt.decoders import SemanticDecoder, SoloV2Decoder
from solo_rt.result import Result
from solo_rt.source import SourceInfo
from solo_rt.spec import METADATA_KEY, InputSpec, ModelSpec, Provenance
from solo_rt.types import Frame

TINY_SPEC = ModelSpec(
    name="tiny",
    input=InputSpec(height=32, width=64),
    decoder=SoloV2Decoder(grids=(4, 3), level_strides=(8, 16)),
    classes=("red", "green", "blue"),
    provenance=Provenance(recipe="by hand", metrics={"AP": 0.25}),
)

STREET_SPEC = ModelSpec(
    name="street",
    input=InputSpec(height=24, width=40, divisor=8),
    decoder=SemanticDecoder(palette=((128, 64, 128), (70, 130, 180), (0, 0, 142)), unpainted=(1,)),
    classes=("road", "sky", "car"),
)


def write_tiny_model(
    path: Path, *, spec: ModelSpec | None = TINY_SPEC, outputs: Mapping[str, str] | None = None, channels: int = 4
) -> Path:
    """Write a model whose outputs are simple functions of the picture and return its path.

    A cell's score for red, green or blue is how much of that colour there is in it. `outputs` renames output tensors,
    `channels` is the number of kernel channels, which is right only if it is 4.
    """
    rng = np.random.default_rng(0)
    weights = {
        "to_features": rng.normal(0, 0.3, (4, 3, 4, 4)).astype(np.float32),
        "to_kernels": rng.normal(0, 1, (channels, 3, 1, 1)).astype(np.float32),
        "one_row": np.array([1, 3, -1], np.int64),
        "one_row_e": np.array([1, channels, -1], np.int64),
    }
    names = {"scores": "scores", "kernels": "kernels", "features": "features", **(outputs or {})}
    nodes = [
        helper.make_node("Conv", ["image", "to_features"], [names["features"]], strides=[4, 4], kernel_shape=[4, 4])
    ]
    for level, cell in enumerate([(8, 16), (10, 21)]):
        pooled = f"pooled{level}"
        nodes += [
            helper.make_node("AveragePool", ["image"], [pooled], kernel_shape=cell, strides=cell),
            helper.make_node("Sigmoid", [pooled], [f"p{level}"]),
            helper.make_node("Reshape", [f"p{level}", "one_row"], [f"rows{level}"]),
            helper.make_node("Transpose", [f"rows{level}"], [f"scores{level}"], perm=[0, 2, 1]),
            helper.make_node("Conv", [pooled, "to_kernels"], [f"k{level}"], kernel_shape=[1, 1]),
            helper.make_node("Reshape", [f"k{level}", "one_row_e"], [f"krows{level}"]),
            helper.make_node("Transpose", [f"krows{level}"], [f"kernels{level}"], perm=[0, 2, 1]),
        ]
    nodes += [
        helper.make_node("Concat", ["scores0", "scores1"], [names["scores"]], axis=1),
        helper.make_node("Concat", ["kernels0", "kernels1"], [names["kernels"]], axis=1),
    ]
    shapes = {"scores": [1, 25, 3], "kernels": [1, 25, channels], "features": [1, 4, 8, 16]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 64])],
        [helper.make_tensor_value_info(names[n], TensorProto.FLOAT, shape) for n, shape in shapes.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return _save(graph, path, spec)


def _save(graph: onnx.GraphProto, path: Path, spec: ModelSpec | None) -> Path:
    model = helper.make_model(graph, producer_name="fakes", opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if spec is not None:
        helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_street_model(path: Path, *, spec: ModelSpec = STREET_SPEC, to: int = TensorProto.UINT8) -> Path:
    """Write a model for `spec`: a pixel's class is that of its colours, red, green and blue, that is largest.

    `to` is the type of the labels, which is right only if it is uint8.
    """
    logits = spec.decoder.output_shapes(1, spec.input.height, spec.input.width, classes=3).get("logits")
    size = [1, spec.input.height, spec.input.width]
    if logits is not None:
        nodes = [helper.make_node("Identity", ["image"], ["logits"])]
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, logits)
    else:
        nodes = [
            helper.make_node("ArgMax", ["image"], ["best"], axis=1, keepdims=0),
            helper.make_node("Cast", ["best"], ["labels"], to=to),
        ]
        output = helper.make_tensor_value_info("labels", to, size)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size[1:]])
    return _save(helper.make_graph(nodes, "street", [image], [output]), path, spec)


def colour_frame(index: int, *, height: int = 48, width: int = 80) -> Frame:
    """Return a frame of coloured blocks that differs from every other index."""
    rgb = np.random.default_rng(index).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    picture = np.repeat(np.repeat(rgb, -(-height // 4), 0), -(-width // 4), 1)[:height, :width]
    return Frame(
        (np.ascontiguousarray(picture),),
        "rgb24",
        index=index,
        pts=index,
        time_base=Fraction(1, 30),
    )


class FakeSource:
    """`count` frames, one each time `gate` lets it; raises `error` instead of frame number `fail_at`."""

    def __init__(
        self,
        count: int = 20,
        *,
        live: bool = False,
        gate: Callable[[int], object] = lambda index: None,
        error: Exception | None = None,
        fail_at: int = -1,
        damage: str | None = None,
    ) -> None:
        self.info = SourceInfo(
            uri="fake",
            kind="world",
            width=80,
            height=48,
            frame_rate=Fraction(30),
            frame_count=count,
            time_base=Fraction(1, 30),
            live=live,
        )
        self.damage = damage
        self.on_state = None
        self.closed = False
        self._count, self._gate, self._error, self._fail_at = count, gate, error, fail_at

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            self._gate(index)
            if self._error is not None and index == self._fail_at:
                raise self._error
            yield colour_frame(index)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> FakeSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Planted(RuntimeError):
    """What a test lets fail."""


class FakeEngine:
    """Seeded noise that depends on nothing but the mean of the picture."""

    def __init__(
        self, *, gate: Callable[[int], object] = lambda call: None, spec: ModelSpec = TINY_SPEC, lanes: int = 1
    ) -> None:
        self.spec = spec
        self.lanes = lanes
        self.backend = "fake"
        self.closed = False
        self.cancelled = threading.Event()
        self.calls = 0
        self._gate = gate
        self._lock = threading.Lock()  # guards `calls`

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._lock:
            call = self.calls
            self.calls += 1
        self._gate(call)
        seed = int(np.abs(inputs["image"]).sum() * 1000)
        rng = np.random.default_rng(seed)
        shapes = {name: [4 if size == -1 else size for size in s] for name, s in self.spec.output_shapes.items()}
        if "labels" in self.spec.output_shapes:
            return {name: rng.integers(0, len(self.spec.classes), s, np.uint8) for name, s in shapes.items()}
        return {name: rng.random(s, np.float32) for name, s in shapes.items()}

    def cancel(self) -> None:
        self.cancelled.set()

    def close(self) -> None:
        self.closed = True


class FakeSink:
    """Keeps what it gets as records, not as pictures."""

    def __init__(self, *, needs_picture: bool = False, gate: Callable[[Result], object] = lambda result: None) -> None:
        self.uri = "fake"
        self.takes_gpu_pictures = self.can_resume = False
        self.needs_picture = needs_picture
        self.records: list[dict[str, object]] = []
        self.pictures: list[bytes] = []
        self.closed = False
        self._gate = gate

    def note(self, event: Mapping[str, object]) -> None:
        pass

    def write(self, result: Result) -> None:
        self._gate(result)
        self.records.append(result.to_record())
        if result.rendered is not None:
            self.pictures.append(b"".join(plane.tobytes() for plane in result.rendered.planes))

    def close(self) -> None:
        self.closed = True


def balanced(report):
    """Return whether a report counts every frame once."""
    return report.read == report.processed + report.dropped + report.skipped + report.failed


def pipeline_threads() -> list[threading.Thread]:
    """Return the threads of pipelines that are still alive."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("solo-rt")]


@contextmanager
def ends_all_threads() -> Iterator[None]:
    """End the whole test run with all stacks if a test hangs, and fail it if it leaves a thread behind."""
    faulthandler.dump_traceback_later(180, exit=True)
    try:
        yield
        # What nobody waits for: a connection that was given up, a model whose video could not be opened.
        given_up = {"solo-rt connection", "solo-rt open"}
        wait_until(lambda: not given_up & {thread.name for thread in pipeline_threads()})
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert pipeline_threads() == []


def write_deep_street_model(path: Path) -> Path:
    """Write a model that `quantise` finds work in: the street model behind three convolutions that change nothing.

    They make pairs of channels, a colour above and below 0, and the third puts them together again.
    """
    there = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)
    weights = {"w1": there, "w2": np.eye(6, dtype=np.float32), "w3": there.T}
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], name="first", kernel_shape=[1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], name="middle", kernel_shape=[1, 1]),
        helper.make_node("Conv", ["c", "w3"], ["d"], name="last", kernel_shape=[1, 1]),
        helper.make_node("ArgMax", ["d"], ["best"], axis=1, keepdims=0),
        helper.make_node("Cast", ["best"], ["labels"], to=TensorProto.UINT8),
    ]
    size = [1, STREET_SPEC.input.height, STREET_SPEC.input.width]
    graph = helper.make_graph(
        nodes,
        "deep street",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size[1:]])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, size)],
        [numpy_helper.from_array(np.ascontiguousarray(w)[:, :, None, None], name) for name, w in weights.items()],
    )
    return _save(graph, path, STREET_SPEC)
