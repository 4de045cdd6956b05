"""How long a run will take, said when its first steps are done, and what else there is for few pictures."""

from __future__ import annotations

from solo_rt.train.recipe import Phase, Recipe

FEW = 2000  # pictures; published recipes were made for the 2,975 of Cityscapes and more
SMALL_SETS = {True: "small", False: "solov2-nano"}  # recipes for them, by whether pixels are labelled
LONG = 48  # hours


def forecast(recipe: Recipe, step: int, *, pictures_per_second: float) -> str:
    """Return about how long the steps from `step` on take, at the speed of the phase they begin in.

    A picture of another phase takes longer in proportion to its pixels.
    """
    now = recipe.phase_at(step)
    rate = pictures_per_second * _pixels(now)
    seconds, first = 0.0, 0
    for phase in recipe.phases:
        last = first + phase.steps
        seconds += max(0, last - max(step, first)) * phase.batch * _pixels(phase) / rate
        first = last
    hours = seconds / 3600
    text = f"{recipe.steps - step:,} steps to go, about {describe_hours(hours)} at {pictures_per_second:.3g} pictures/s"
    return f"{text}; --steps, --epochs and --imgsz make it shorter" if hours > LONG else text


def describe_hours(hours: float) -> str:
    """Return a duration in the unit that suits it."""
    if hours < 1:
        return f"{max(1, round(hours * 60))} min"
    return f"{hours:.1f} hours" if hours <= LONG else f"{hours / 24:.0f} days"


def suggest_recipe(recipe: Recipe, pictures: int, *, semantic: bool) -> str:
    """Return a line that names a recipe for so few pictures, empty where `recipe` suits them."""
    if recipe.optimiser != "sgd" or pictures >= FEW:
        return ""
    return (
        f"{pictures} pictures are few for this recipe, which was published for thousands; "
        f"--recipe {SMALL_SETS[semantic]} is for small sets and starts from nothing"
    )


def _pixels(phase: Phase) -> int:
    height, width = phase.imgsz
    return height * width
