"""Makes the golden files of tests/data; `scripts/golden` runs it, tests/test_golden.py checks that they agree.

`tiny.onnx` is a seeded SOLOv2 small enough to commit; `tiny.npz` holds a picture of the procedural world, what PyTorch
makes of it, and what the numpy reference decodes from that.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch

from solo_rt.decode import decode_reference
from solo_rt.decoders import SoloV2Decoder
from solo_rt.preprocess import Letterbox
from solo_rt.spec import InputSpec, ModelSpec
from solo_rt.train.export.heads import flatten_levels, points_nms
from solo_rt.train.export.onnx_file import write_graph
from solo_rt.train.export.solov2 import solov2_graph
from solo_rt.train.models.parts.levels import LEVEL_STRIDES
from solo_rt.train.models.parts.resnet import ResNetConfig
from solo_rt.train.models.solov2 import SoloV2, SoloV2Config
from solo_rt.world import CLASSES, World

DATA = Path(__file__).parent / "data"
CONFIG = SoloV2Config(
    ResNetConfig("basic", (1, 1, 1, 1), widths=(8, 8, 12, 16), stem="slim"),
    fpn_channels=16,
    mask_channels=8,
    tower_depth=1,
    tower_width=16,
    kernel_channels=8,
    grids=(8, 6, 5, 4, 3),
    scale_ranges=((1, 2),) * 5,
    imgsz=(96, 160),
    norm_groups=4,
)


def tiny_model() -> tuple[SoloV2, ModelSpec]:
    """Return the network, whose weights are random but give a screenful of overlapping instances, and its spec."""
    torch.manual_seed(11)
    model = SoloV2(CONFIG, len(CLASSES)).eval()
    with torch.no_grad():
        for parameter in model.head.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 1.5 / parameter[0].numel() ** 0.5)
        model.head.solo_cate.bias.fill_(-2.0)  # type: ignore[union-attr]
    spec = ModelSpec(
        name="tiny",
        input=InputSpec(*CONFIG.imgsz),
        decoder=SoloV2Decoder(CONFIG.grids, LEVEL_STRIDES, max_instances=20),
        classes=CLASSES,
    )
    return model, spec


def tensors(model: SoloV2, spec: ModelSpec) -> dict[str, np.ndarray]:
    """Return the picture, the raw outputs of PyTorch and the decoded reference."""
    picture = World(3, height=90, width=160).render(20).rgb
    image = np.zeros((1, 3, spec.input.height, spec.input.width), np.float32)
    normalised = (picture - np.array(spec.input.mean)) / np.array(spec.input.std)
    image[0, :, :90, :160] = normalised.transpose(2, 0, 1)
    with torch.inference_mode():
        heads = model(torch.from_numpy(image))
        outputs = {
            "scores": flatten_levels([points_nms(x) for x in heads.logits]).numpy(),
            "kernels": flatten_levels(heads.kernels).numpy(),
            "features": heads.features.numpy(),
        }
    first = {name: values[0] for name, values in outputs.items()}
    found = decode_reference(first, spec, Letterbox((90, 160), (90, 160), (90, 160)))
    return {
        "picture": picture,
        **outputs,
        "found_scores": found.scores,
        "found_classes": found.class_ids,
        "found_masks": np.packbits(found.masks, axis=-1),
    }


def write() -> None:
    """Write both files and print the versions they were made with."""
    model, spec = tiny_model()
    DATA.mkdir(exist_ok=True)
    graph = solov2_graph(
        model, spec.name, spec.classes, spec.provenance, imgsz=(spec.input.height, spec.input.width), batch=1
    )
    write_graph(replace(graph, spec=spec), DATA / "tiny.onnx")
    np.savez_compressed(DATA / "tiny.npz", **tensors(model, spec))
    for path in (DATA / "tiny.onnx", DATA / "tiny.npz"):
        print(f"{path.name}: {path.stat().st_size} bytes")
    print(
        f"python {sys.version.split()[0]}, torch {torch.__version__}, onnx {onnx.__version__}, numpy {np.__version__}"
    )


if __name__ == "__main__":
    write()
