"""How numbers came about, in words: what must be the same before they are compared, or parts of them put together."""

from __future__ import annotations

from solo_rt.decoders import DetectionsDecoder, SemanticDecoder, SoloDecoder, SoloV2Decoder
from solo_rt.engine import PRECISIONS, Engine, without_threads
from solo_rt.errors import UsageError
from solo_rt.spec import ModelSpec
from solo_rt.train.evaluate.views import Views, semantic_decoder


def describe_instances(
    engine: Engine, *, conf: float = 0.0, exact: bool = False, scale: tuple[int, int] | None = None
) -> str:
    """Return which instances are found. Raises: UsageError for a model that labels pixels.

    `conf` is as for `detect`; `exact` is for `detect_exactly`, and `scale` for a network that it gives other sizes.
    The limits are those of the model file; those of an engine that decodes by itself were built into it, and a `conf`
    above them is all that can be changed.
    """
    decoder = instance_decoder(engine.spec)
    parts = [
        *(["published procedure"] if exact else []),
        _input(engine) if scale is None else f"pictures of at most {scale[0]} by {scale[1]} pixels, either way round",
        f"the best {decoder.nms_pre} candidates above {decoder.score_threshold:g}",
        f"masks above {decoder.mask_threshold:g}",
        f"the best {decoder.max_instances} instances of {max(conf, decoder.update_threshold):g} or more",
        computed_by(engine),
    ]
    return ", ".join(parts)


def describe_labels(engine: Engine, views: Views) -> str:
    """Return how labels came to the size of the pictures. Raises: UsageError for a model that finds instances."""
    if views.single:
        kind = "labels" if semantic_decoder(engine.spec).output == "labels" else "logits"
        looks = f"{kind} resized to the pictures"
    else:
        scales = ", ".join(f"{scale:g}" for scale in views.scales)
        looks = f"mean of the probabilities at scales {scales}{', each also mirrored' * views.mirrored}"
    return f"{_input(engine)}, {looks}, {computed_by(engine)}"


def instance_decoder(spec: ModelSpec) -> SoloV2Decoder | SoloDecoder | DetectionsDecoder:
    """Return the decoder of a model that finds instances. Raises: UsageError for one that labels pixels."""
    if isinstance(spec.decoder, SemanticDecoder):
        raise UsageError(f"expected a model that finds instances, {spec.name} labels pixels")
    return spec.decoder


def computed_by(engine: Engine) -> str:
    """Return what computed, without what changes no number: "by openvino cpu, bf16", "by tensorrt 10.16.1.11 fp16".

    Parts may be computed on several cards and with any number of threads.
    """
    where, *precisions = without_threads(engine.backend).split(", ")
    return ", ".join([f"by {where.partition(':')[0]}", *(one for one in precisions if one in PRECISIONS)])


def _input(engine: Engine) -> str:
    return f"network input {engine.spec.input.height}x{engine.spec.input.width}"
