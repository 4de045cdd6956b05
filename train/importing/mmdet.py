"""OpenMMLab's mmdetection 2 and 3: SOLO, Decoupled SOLO, its light form, and SOLOv2.

`mask_head` is the whole head here; in AdelaiDet it is the mask branch alone.
"""

from __future__ import annotations

from functools import partial

from solo_rt.train.importing.base import Source, has
from solo_rt.train.importing.instances import MMDETECTION_BODY, translate_instances

_TOWERS = {"cls_convs": "cate_convs", "kernel_convs": "kernel_convs"} | {
    f"mask_convs{axis}": f"ins_convs{axis}" for axis in ("", "_x", "_y")
}
_FEATURES = r"mask_head\.mask_feature_head"

RULES = {
    **MMDETECTION_BODY,
    **{rf"mask_head\.{old}\.(\d)\.conv\.(.+)": rf"head.{new}.\1.0.\2" for old, new in _TOWERS.items()},
    **{rf"mask_head\.{old}\.(\d)\.gn\.(.+)": rf"head.{new}.\1.1.\2" for old, new in _TOWERS.items()},
    r"mask_head\.conv_cls\.(.+)": r"head.solo_cate.\1",
    r"mask_head\.conv_kernel\.(.+)": r"head.solo_kernel.\1",
    r"mask_head\.conv_mask_list\.(.+)": r"head.solo_ins_list.\1",
    r"mask_head\.conv_mask_list_([xy])\.(.+)": r"head.dsolo_ins_list_\1.\2",
    rf"{_FEATURES}\.convs_all_levels\.(\d)\.conv(\d)\.conv\.(.+)": r"mask_branch.convs_all_levels.\1.\2.0.\3",
    rf"{_FEATURES}\.convs_all_levels\.(\d)\.conv(\d)\.gn\.(.+)": r"mask_branch.convs_all_levels.\1.\2.1.\3",
    rf"{_FEATURES}\.conv_pred\.conv\.(.+)": r"mask_branch.conv_pred.0.\1",
    rf"{_FEATURES}\.conv_pred\.gn\.(.+)": r"mask_branch.conv_pred.1.\1",
}

MMDET = Source(
    "mmdet",
    "Apache-2.0 (open-mmlab/mmdetection)",
    has("mask_head.conv_cls.weight"),
    partial(translate_instances, rules=RULES, stride_on="3x3"),
)
