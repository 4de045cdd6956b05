"""AdelaiDet (aim-uofa) on detectron2: SOLOv2 on the original Caffe ResNets.

These have their stride on the first 1x1 convolution of a bottleneck and read BGR, with the mean subtracted and no
more. The order of the channels is turned to RGB in the first convolution, the standard deviation goes with the weights.
`mask_head` is the mask branch here; in mmdetection it is the whole head.
"""

from __future__ import annotations

from dataclasses import replace

from solo_rt.train.importing.base import Imported, Source, has
from solo_rt.train.importing.instances import translate_instances
from solo_rt.train.importing.weights_file import WeightsFile

STEM = "backbone.conv1.weight"
STD = (1.0, 1.0, 1.0)  # its mean is that of all others
_BODY = r"backbone\.bottom_up"
_TOWERS = {"cate_tower": "cate_convs", "kernel_tower": "kernel_convs"}

RULES = {
    rf"{_BODY}\.stem\.conv1\.weight": STEM,
    rf"{_BODY}\.stem\.conv1\.norm\.(.+)": r"backbone.bn1.\1",
    **{
        rf"{_BODY}\.res{i + 1}\.(\d+)\.{old}": rf"backbone.layer{i}.\1.{new}"
        for i in (1, 2, 3, 4)
        for old, new in (
            (r"conv(\d)\.weight", r"conv\2.weight"),
            (r"conv(\d)\.norm\.(.+)", r"bn\2.\3"),
            (r"shortcut\.weight", "downsample.0.weight"),
            (r"shortcut\.norm\.(.+)", r"downsample.1.\2"),
        )
    },
    **{rf"backbone\.fpn_lateral{i + 2}\.(.+)": rf"fpn.lateral_convs.{i}.\1" for i in range(4)},
    **{rf"backbone\.fpn_output{i + 2}\.(.+)": rf"fpn.fpn_convs.{i}.\1" for i in range(4)},
    # Towers are flat: convolution, normalisation, ReLU, convolution ...
    **{
        rf"ins_head\.{old}\.{3 * i + j}\.(.+)": rf"head.{new}.{i}.{j}.\1"
        for old, new in _TOWERS.items()
        for i in range(4)
        for j in (0, 1)
    },
    r"ins_head\.cate_pred\.(.+)": r"head.solo_cate.\1",
    r"ins_head\.kernel_pred\.(.+)": r"head.solo_kernel.\1",
    r"mask_head\.convs_all_levels\.(\d)\.conv(\d)\.([01]\..+)": r"mask_branch.convs_all_levels.\1.\2.\3",
    r"mask_head\.(conv_pred\.[01]\..+)": r"mask_branch.\1",
}


def _translate(file: WeightsFile) -> Imported:
    found = translate_instances(file, rules=RULES, stride_on="1x1")
    weights = dict(found.weights)
    if STEM in weights:
        weights[STEM] = weights[STEM].flip(1)  # from BGR
    return replace(found, weights=weights, std=STD)


ADET = Source(
    "adet",
    "2-clause BSD, non-commercial use only (aim-uofa/AdelaiDet)",
    has("ins_head.cate_pred.weight"),
    _translate,
)
