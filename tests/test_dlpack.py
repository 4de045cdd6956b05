"""Pictures handed to PyAV without a copy, in host memory, where the same structures are used."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import av
import numpy as np
import pytest

from solo_rt.errors import EngineError
from solo_rt.gpu.cuda import device_count
from solo_rt.gpu.nvcodec import CAN_STAY_ON_GPU
from solo_rt.sink import dlpack
from solo_rt.sink.dlpack import GpuContext, to_video_frame
from solo_rt.types import DevicePicture

pytestmark = pytest.mark.skipif(not CAN_STAY_ON_GPU, reason="this PyAV cannot leave frames on a GPU")


class Memory:
    """Rows of noise, of which a picture of `size` = width, height takes the beginnings."""

    def __init__(self, size: tuple[int, int], stride: int) -> None:
        width, height = size
        self.rows = np.random.default_rng(0).integers(0, 256, (height * 3 // 2, stride), np.uint8)
        start = self.rows.ctypes.data
        self.picture = DevicePicture((start, start + height * stride), (stride, stride), height, width, owner=self)


@pytest.mark.parametrize(("size", "stride"), [((2, 2), 2), ((64, 48), 64), ((34, 50), 256)])
def test_picture_is_the_same_memory_and_lives_as_long_as_it_is_used(size: tuple[int, int], stride: int) -> None:
    memory = Memory(size, stride)
    width, height = size
    frame = to_video_frame(memory.picture, None)
    assert (frame.format.name, frame.width, frame.height) == ("nv12", width, height)
    assert [plane.buffer_ptr for plane in frame.planes] == list(memory.picture.planes)
    assert [plane.line_size for plane in frame.planes] == [stride, stride]
    expected = memory.rows[:, :width].copy()
    alive = weakref.ref(memory)
    del memory
    gc.collect()
    assert alive() is not None
    np.testing.assert_array_equal(frame.to_ndarray(), expected)
    del frame
    gc.collect()
    assert alive() is None
    assert not dlpack._held


@pytest.mark.parametrize(
    ("size", "shift", "other", "words"),
    [((64, 47), 0, 64, "even"), ((64, 48), 64, 64, "right behind Y"), ((64, 48), 0, 65, "right behind Y")],
)
def test_nothing_is_kept_of_a_picture_that_is_refused(
    size: tuple[int, int], shift: int, other: int, words: str
) -> None:
    memory = Memory((64, 48), 64)
    luma = memory.picture.planes[0]
    width, height = size
    picture = DevicePicture((luma, luma + 64 * height + shift), (64, other), height, width, owner=memory)
    with pytest.raises(ValueError, match=words):
        to_video_frame(picture, None)
    gc.collect()
    assert not dlpack._held


@pytest.mark.skipif(device_count() > 0, reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_fails() -> None:
    with pytest.raises(EngineError, match="CUDA: "):
        GpuContext(0)


def test_a_picture_is_handed_over_in_the_context_that_ffmpeg_is_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    class Primary:
        def __init__(self, gpu: int) -> None:
            self.is_current = False

        @contextmanager
        def current(self) -> Iterator[None]:
            self.is_current = True
            yield
            self.is_current = False

    def from_dlpack(planes: object, *, cuda_context: object, **_: object) -> None:
        seen.append((context.primary.is_current, cuda_context))

    monkeypatch.setattr(dlpack, "PrimaryContext", Primary)
    monkeypatch.setattr(dlpack, "av", SimpleNamespace(VideoFrame=SimpleNamespace(from_dlpack=from_dlpack)))
    context = GpuContext(1)
    assert (context.view.device_id, context.view.primary_ctx, context.view.current_ctx) == (1, False, True)
    to_video_frame(Memory((64, 48), 64).picture, context)
    assert seen == [(True, context.view)]
    assert not context.primary.is_current


def test_an_encoder_may_hold_pictures_back(tmp_path) -> None:
    memories = [Memory((64, 48), 128) for _ in range(8)]
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"qp": "0"})  # looks ahead
        stream.width, stream.height, stream.pix_fmt = 64, 48, "nv12"
        for memory in memories:
            container.mux(stream.encode(to_video_frame(memory.picture, None)))
        del memory
        expected = [memory.rows[:, :64].copy() for memory in memories]
        memories.clear()
        gc.collect()
        container.mux(stream.encode(None))
    with av.open(str(tmp_path / "a.mkv")) as container:
        for frame, rows in zip(container.decode(video=0), expected, strict=True):
            np.testing.assert_array_equal(frame.reformat(format="nv12").to_ndarray(), rows)
    gc.collect()
    assert not dlpack._held
