"""How each shipped or published model is trained."""

from __future__ import annotations

from dataclasses import replace

from solo_rt.errors import UsageError
from solo_rt.train.recipe import EVENNESS, Phase, Recipe


def _world(
    model: str, *phases: Phase, warmup_steps: int, hard_pixels: bool = False, coarse_aux: bool = False
) -> Recipe:
    """Return a recipe for the procedural world, for a small network on a CPU, from nothing."""
    return Recipe(
        model=model,
        phases=phases,
        optimiser="adamw",
        lr=2e-3,
        lr_batch=None,
        weight_decay=0.02,
        decayed="weights",
        schedule="cosine",
        warmup_steps=warmup_steps,
        warmup_from=1 / warmup_steps,
        clip=10.0,
        ema=0.998,
        hard_pixels=hard_pixels,
        coarse_aux=coarse_aux,
    )


def _solo(
    model: str,
    imgsz: tuple[int, int],
    scales: tuple[int, tuple[int, ...]],
    *,
    epochs: int = 36,
    warmup_from: float = 0.01,
) -> Recipe:
    """Return a row of the official SOLO and SOLOv2 releases: 8 GPUs with two pictures each."""
    return Recipe(
        model=model,
        phases=(Phase(imgsz, 16, epochs=epochs),),
        optimiser="sgd",
        lr=0.01,
        lr_batch=16,
        weight_decay=1e-4,
        decayed="all",
        schedule="steps",
        warmup_steps=500,
        warmup_from=warmup_from,
        clip=35.0,
        frozen=True,
        scales=scales,
    )


def _crops(
    model: str,
    crop: tuple[int, int],
    *,
    lr: float,
    batch: int,
    epochs: float = 0,
    steps: int = 0,
    weight_decay: float = 1e-4,
    head_lr: float = 10.0,
    warmup_steps: int = 0,
    hard_pixels: bool = False,
) -> Recipe:
    """Return a row of the semantic releases: SGD, the polynomial schedule, crops."""
    return Recipe(
        model=model,
        phases=(Phase(crop, batch, steps=steps, epochs=epochs),),
        optimiser="sgd",
        lr=lr,
        lr_batch=batch,
        weight_decay=weight_decay,
        decayed="weights",
        schedule="poly",
        warmup_steps=warmup_steps,
        head_lr=head_lr,
        hard_pixels=hard_pixels,
    )


def _camvid(
    model: str,
    crop: tuple[int, int],
    *,
    batch: int,
    epochs: float,
    lr: float,
    weight_decay: float,
    evenness: float,
) -> Recipe:
    """Return how a small network was published on CamVid: Adam from nothing, pictures scaled by 0.5 to 2, weights."""
    published = _crops(model, crop, lr=lr, batch=batch, epochs=epochs, weight_decay=weight_decay, head_lr=1.0)
    return replace(published, optimiser="adam", lr_batch=None, decayed="all", class_weights=evenness, whole=(360, 480))


_SHORT_LIGHT = (512, 480, 448, 416, 384, 352)
_ONE_SCALE = (1333, (800,))
_FULL = (1333, (800, 768, 736, 704, 672, 640))
_LIGHT = (768, _SHORT_LIGHT)
_LIGHT_512 = (852, _SHORT_LIGHT)

RECIPES: dict[str, Recipe] = {
    # Grids do not depend on the input size, so most of what there is to learn is learnt at a quarter of the cost.
    "solov2-nano": _world(
        "solov2-nano", Phase((128, 224), 32, steps=3000), Phase((256, 448), 16, steps=3000), warmup_steps=300
    ),
    # Nothing is made finer than 1/8 of the input: the outline of a shape needs the larger pictures of the later phases.
    "fast-scnn-world": _world(
        "fast-scnn",
        Phase((192, 352), 16, steps=2400),
        Phase((384, 672), 8, steps=2850),
        Phase((544, 960), 8, steps=3000),
        warmup_steps=200,
        hard_pixels=True,
        coarse_aux=True,
    ),
    # For a user's own labelled pixels, hundreds of pictures: rare classes count, and all is learnt in hours on a CPU.
    "small": replace(
        _world("fast-scnn", Phase((384, 512), 8, epochs=100), warmup_steps=200, coarse_aux=True),
        label_step=2,
        class_weights=EVENNESS,
    ),
    # Ours. At twice the pictures' size, as they were filmed: of a pole of two pixels nothing is left at 1/8 otherwise.
    "fast-scnn-camvid": replace(
        _world(
            "fast-scnn",
            Phase((256, 352), 8, epochs=40),
            Phase((384, 512), 8, epochs=200),
            warmup_steps=200,
            coarse_aux=True,
        ),
        label_step=2,
        class_weights=EVENNESS,
        zoom=(1.0, 2.8),
        whole=(704, 960),
    ),
    # Paszke et al. 2016, section 5.2: 51.3 % on part test, trained on part train; its encoder was trained first.
    "enet-camvid": _camvid("enet", (360, 480), batch=10, epochs=300, lr=5e-4, weight_decay=2e-4, evenness=1.02),
    # github.com/wutianyiRosun/CGNet, camvid_train.py: 65.6 % on part test, trained on parts train and val.
    # In their form of the network and, which is ours, with averaged weights, so that it can be measured at any time.
    "cgnet-camvid": replace(
        _camvid("cgnet-official", (360, 360), batch=8, epochs=800, lr=1e-3, weight_decay=5e-4, evenness=1.1), ema=0.998
    ),
    # SOLO and Decoupled SOLO: github.com/WXinlong/SOLO, configs/solo and configs/decoupled_solo.
    "solo-r50-1x": _solo("solo-r50", (768, 1344), _ONE_SCALE, epochs=12, warmup_from=1 / 3),
    "solo-r50": _solo("solo-r50", (768, 1344), _FULL, warmup_from=1 / 3),
    "solo-r101": _solo("solo-r101", (768, 1344), _FULL, warmup_from=1 / 3),
    "decoupled-solo-r50-1x": _solo("decoupled-solo-r50", (768, 1344), _ONE_SCALE, epochs=12, warmup_from=1 / 3),
    "decoupled-solo-r50": _solo("decoupled-solo-r50", (768, 1344), _FULL, warmup_from=1 / 3),
    "decoupled-solo-r101": _solo("decoupled-solo-r101", (768, 1344), _FULL, warmup_from=1 / 3),
    "decoupled-solo-light-r50": _solo("decoupled-solo-light-r50", (480, 864), _LIGHT_512, warmup_from=1 / 3),
    # SOLOv2: the same code base, configs/solov2.
    "solov2-r50-1x": _solo("solov2-r50", (768, 1344), _ONE_SCALE, epochs=12),
    "solov2-r50": _solo("solov2-r50", (768, 1344), _FULL),
    "solov2-r101": _solo("solov2-r101", (768, 1344), _FULL),
    "solov2-light-r18": _solo("solov2-light-r18", (448, 768), _LIGHT),
    "solov2-light-r34": _solo("solov2-light-r34", (448, 768), _LIGHT),
    "solov2-light-r50": _solo("solov2-light-r50", (448, 768), _LIGHT),
    # Fast-SCNN and the rates of the next ten: github.com/LikeLy-Journey/SegmenTron, on Cityscapes (Fast-SCNN: 68.9 %).
    "fast-scnn": _crops("fast-scnn", (512, 1024), lr=0.045, batch=12, epochs=1000, weight_decay=4e-5, head_lr=1.0),
    "cgnet": _crops("cgnet", (512, 1024), lr=0.003, batch=8, epochs=240, head_lr=1.0),
    "lednet": _crops("lednet", (512, 1024), lr=0.003, batch=8, epochs=240, head_lr=1.0),
    "enet": _crops("enet", (512, 1024), lr=0.001, batch=8, epochs=240, head_lr=1.0),
    "espnetv2": _crops("espnetv2", (512, 1024), lr=0.001, batch=8, epochs=240, head_lr=1.0),
    "icnet": _crops("icnet", (768, 768), lr=0.01, batch=8, epochs=240),
    "danet": _crops("danet", (768, 768), lr=0.003, batch=8, epochs=240),
    "denseaspp": _crops("denseaspp", (768, 768), lr=0.003, batch=8, epochs=240),
    "dunet": _crops("dunet", (768, 768), lr=0.003, batch=8, epochs=240),
    "encnet": _crops("encnet", (768, 768), lr=0.003, batch=8, epochs=240),
    "ocnet": _crops("ocnet", (768, 768), lr=0.003, batch=8, epochs=240),
    "ccnet": _crops("ccnet", (768, 768), lr=0.003, batch=8, epochs=240),
    # github.com/CoinCheung/BiSeNet, version 1: 75.4 % on Cityscapes val.
    "bisenet": _crops(
        "bisenet", (1024, 1024), lr=0.01, batch=16, steps=80_000, weight_decay=5e-4, warmup_steps=1000, hard_pixels=True
    ),
    # github.com/hszhao/semseg, on Cityscapes.
    "pspnet": _crops("pspnet", (713, 713), lr=0.01, batch=16, epochs=200),
    "psanet": _crops("psanet", (713, 713), lr=0.01, batch=16, epochs=200),
    # Chen et al. 2017, section 4.1, for the crop of their Cityscapes model.
    "deeplabv3": _crops("deeplabv3", (769, 769), lr=0.007, batch=16, steps=90_000, head_lr=1.0),
    # github.com/Tramac/awesome-semantic-segmentation-pytorch.
    "fcn": _crops("fcn", (480, 480), lr=1e-4, batch=4, epochs=60),
}


def find_recipe(model: str, data: str) -> str:
    """Return the name of the recipe for `model` on `data`: `MODEL-SCHEME` where there is one, else `MODEL`.

    A model without either has the recipe of its family: pspnet-r50 that of pspnet; so has a data set: camvid-trainval
    that of camvid. Raises: UsageError without any.
    """
    stem, scheme = model, data.partition(":")[0]
    while stem:
        for name in (f"{stem}-{scheme}", f"{stem}-{scheme.partition('-')[0]}", stem):
            if name in RECIPES:
                return name
        stem = stem.rpartition("-")[0]
    raise UsageError(f"no recipe for {model!r}; choose one with --recipe: {', '.join(RECIPES)}")
