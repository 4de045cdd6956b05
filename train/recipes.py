"""How each shipped or published model is trained."""

from __future__ import annotations

from dataclasses import dataclass

from solo_rt.errors import UsageError


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training at one input size."""

    imgsz: tuple[int, int]
    steps: int
    batch: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a run is determined by, beside the data and the seed."""

    model: str
    phases: tuple[Phase, ...]
    lr: float  # peak learning rate of AdamW, reached after the warm-up, then a cosine to zero over all phases
    weight_decay: float
    warmup_steps: int
    clip: float  # L2 norm of the gradient
    ema: float  # decay of the averaged weights, which are what is exported

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)


RECIPES: dict[str, Recipe] = {
    # Grids do not depend on the input size, so most of what there is to learn is learnt at a quarter of the cost.
    "solov2-nano": Recipe(
        model="solov2-nano",
        phases=(Phase((128, 224), 3000, 32), Phase((256, 448), 3000, 16)),
        lr=2e-3,
        weight_decay=0.02,
        warmup_steps=300,
        clip=10.0,
        ema=0.998,
    ),
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe `name`. Raises: UsageError for an unknown name."""
    if name not in RECIPES:
        raise UsageError(f"no recipe for {name!r}; there is one for: {', '.join(RECIPES)}")
    return RECIPES[name]
