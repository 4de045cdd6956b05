"""How long a run will take, and which recipe suits few pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from solo_rt.train.forecast import forecast, suggest_recipe
from solo_rt.train.recipe import Phase
from solo_rt.train.recipes import RECIPES

TWO = replace(RECIPES["small"], phases=(Phase((32, 64), 4, steps=100), Phase((64, 128), 2, steps=300)))


def test_a_phase_of_larger_pictures_takes_longer() -> None:
    # 90 x 4 small pictures at one a second, then 300 x 2 of four times the pixels
    assert forecast(TWO, 10, pictures_per_second=1.0) == "390 steps to go, about 46 min at 1 pictures/s"
    assert forecast(TWO, 250, pictures_per_second=2.0) == "150 steps to go, about 2 min at 2 pictures/s"


@pytest.mark.parametrize(
    ("speed", "expected"),
    [(0.1, "7.7 hours at 0.1 pictures/s"), (0.01, "3 days at 0.01 pictures/s; --steps, --epochs and --imgsz make it")],
)
def test_durations_are_in_the_unit_that_suits_them(speed: float, expected: str) -> None:
    assert expected in forecast(TWO, 10, pictures_per_second=speed)


def test_a_published_recipe_is_too_long_for_few_pictures() -> None:
    published = RECIPES["fast-scnn"]
    assert "367 pictures are few" in suggest_recipe(published, 367, semantic=True)
    assert "--recipe small " in suggest_recipe(published, 367, semantic=True)
    assert "--recipe solov2-nano " in suggest_recipe(RECIPES["solov2-r50"], 140, semantic=False)
    assert suggest_recipe(published, 2975, semantic=True) == ""
    assert suggest_recipe(TWO, 367, semantic=True) == ""
