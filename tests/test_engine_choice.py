"""What an engine calls itself tells how to get the same once more."""

from __future__ import annotations

from contextlib import closing

import pytest
from backends import BACKENDS

from solo_rt.engine import candidate_of, find_model, open_engine, without_threads
from solo_rt.errors import UsageError


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_chosen_can_be_asked_for(backend, tiny):
    with closing(open_engine(tiny, backend=backend, threads=2)) as first:
        asked, known = candidate_of(first.backend), without_threads(first.backend)
    assert asked == (backend, "fp32")
    with closing(open_engine(tiny, backend=asked.backend, precision=asked.precision, threads=1)) as again:
        assert (candidate_of(again.backend), without_threads(again.backend)) == (asked, known)
        assert again.backend != known == f"{backend} cpu"


@pytest.mark.parametrize("backend", BACKENDS)
def test_int8_that_was_chosen_can_be_asked_for(backend):
    file = find_model("fast-scnn").with_suffix(".int8.onnx")
    with closing(open_engine(file, backend=backend)) as first:
        asked = candidate_of(first.backend)
    assert asked == (backend, "int8")
    with closing(open_engine(file, backend=asked.backend, precision=asked.precision)) as again:
        assert again.backend == first.backend


def test_the_precision_of_a_built_engine_is_not_asked_for(tiny):
    with pytest.raises(UsageError, match="expected auto or fp32 with the tensorrt backend"):
        open_engine(tiny, backend="tensorrt", precision="bf16")


def test_what_a_file_says_by_itself_is_not_asked_for():
    for engine in ("tensorrt 10.16.1.11 fp16, NVIDIA H200", "torch cpu", ""):
        assert candidate_of(engine) is None
