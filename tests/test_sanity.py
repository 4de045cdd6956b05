"""A network that gives nonsense is said once, and what is written stays what readers expect."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from fakes import TINY_SPEC, FakeEngine, FakeSink, FakeSource

from solo_rt.pipeline import run
from solo_rt.pipeline.sanity import SAMPLE, Sanity
from solo_rt.types import Instances


class Broken(FakeEngine):
    """Gives scores multiplied by a number, which may be none."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def infer(self, inputs):
        outputs = super().infer(inputs)
        with np.errstate(invalid="ignore"):
            return {**outputs, "scores": outputs["scores"] * np.float32(self.factor)}


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1.0, None),
        (20.0, "a score is"),
        (np.inf, "output scores holds NaN or infinite"),
        (np.nan, "output scores holds"),
    ],
)
def test_a_broken_model_is_said_once_and_its_records_stay_json(factor, said, caplog):
    sink = FakeSink()
    with caplog.at_level(logging.WARNING), np.errstate(invalid="ignore"):
        run(FakeSource(5), Broken(factor), [sink])
    lines = json.loads(json.dumps(sink.records, allow_nan=False))
    scores = [instance["score"] for line in lines for instance in line["instances"]]
    assert all(0 <= score <= 1 for score in scores)
    assert (max(scores, default=0) == 1) == (factor in (20.0, np.inf))
    broken = [record.getMessage() for record in caplog.records if "its weights are broken" in record.getMessage()]
    assert all(message.startswith("model tiny: ") for message in broken)
    assert len({message.split(":")[1] for message in broken}) == len(broken)
    assert (said is None and not broken) or sum(said in message for message in broken) == 1


def test_every_number_of_a_small_output_is_looked_at(caplog):
    for size in (1, 2, 7, SAMPLE):
        for place in {0, size // 2, size - 1}:
            values = np.zeros(size, np.float32)
            values[place] = np.nan
            caplog.clear()
            Sanity(TINY_SPEC.name).check({"scores": values})
            assert len(caplog.records) == 1
    caplog.clear()
    Sanity("x").check({"labels": np.zeros(3, np.uint8), "none": np.zeros((0, 4), np.float32)})
    assert not caplog.records


def test_scores_of_exactly_one_are_as_they_should_be(caplog):
    found = Instances.none((4, 4))
    assert Sanity("x").scored(found) is found
    assert not caplog.records
