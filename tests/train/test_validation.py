"""Measuring while training: the numbers of the pictures as they are, whatever they are padded to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from solo_rt.evaluate.confusion import count_pixels, summarise
from solo_rt.train.data.samples import MEAN, STD
from solo_rt.train.data.semantic.world import held_out_world
from solo_rt.train.distributed import Job
from solo_rt.train.models.semantic import SemanticOutput
from solo_rt.train.validation import measure_semantic

ALONE = Job(0, 1, torch.device("cpu"))


class Bright(nn.Module):
    """Calls what is bright class 3, the rest background, and the padding class 5."""

    size_divisor = 32

    def forward(self, images: Tensor) -> SemanticOutput:
        grey = (images[0] * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]).mean(0)
        found = torch.where(grey > 128.5, 3, 0)
        found[(images[0] == 0).all(0)] = 5
        return SemanticOutput(nn.functional.one_hot(found, 8).permute(2, 0, 1)[None].float())


@pytest.mark.parametrize(("size", "pictures"), [((45, 70), 3), ((64, 96), 1), ((33, 64), 99)])
def test_metrics_are_those_of_the_unpadded_pictures(size: tuple[int, int], pictures: int) -> None:
    data = held_out_world(size=size, length=4)
    confusion = np.zeros((8, 9), np.int64)
    for index in range(min(pictures, 4)):
        found = np.where(data[index].image.mean(axis=2) > 128.5, 3, 0).astype(np.uint8)
        confusion += count_pixels(data[index].labels, found, classes=8)
    scores = measure_semantic(Bright(), data, pictures=pictures, job=ALONE)
    assert scores["val_mIoU"] == pytest.approx(summarise(confusion)["mIoU"], abs=1e-3)
    assert scores["val_pixel_accuracy"] == pytest.approx(summarise(confusion)["pixel_accuracy"], abs=1e-3)
