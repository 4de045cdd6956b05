"""WXinlong/SOLO, the code of the papers, on mmdetection 1: all that it has published."""

from __future__ import annotations

from functools import partial

from solo_rt.train.importing.base import Source, has
from solo_rt.train.importing.instances import MMDETECTION_BODY, translate_instances

_TOWERS = r"(cate_convs|kernel_convs|ins_convs|ins_convs_x|ins_convs_y)\.(\d)"

RULES = {
    **MMDETECTION_BODY,
    rf"bbox_head\.{_TOWERS}\.conv\.(.+)": r"head.\1.\2.0.\3",
    rf"bbox_head\.{_TOWERS}\.conv_offset\.(.+)": r"head.\1.\2.0.conv_offset.\3",
    rf"bbox_head\.{_TOWERS}\.gn\.(.+)": r"head.\1.\2.1.\3",
    r"bbox_head\.d?solo_cate\.(.+)": r"head.solo_cate.\1",
    r"bbox_head\.(solo_kernel|d?solo_ins_list(_[xy])?\.\d)\.(.+)": r"head.\1.\3",
    r"mask_feat_head\.convs_all_levels\.(\d)\.conv(\d)\.conv\.(.+)": r"mask_branch.convs_all_levels.\1.\2.0.\3",
    r"mask_feat_head\.convs_all_levels\.(\d)\.conv(\d)\.gn\.(.+)": r"mask_branch.convs_all_levels.\1.\2.1.\3",
    r"mask_feat_head\.conv_pred\.0\.conv\.(.+)": r"mask_branch.conv_pred.0.\1",
    r"mask_feat_head\.conv_pred\.0\.gn\.(.+)": r"mask_branch.conv_pred.1.\1",
}

OFFICIAL = Source(
    "official",
    "2-clause BSD, non-commercial use only (WXinlong/SOLO)",
    has("bbox_head.cate_convs.0.conv.weight"),
    partial(translate_instances, rules=RULES, stride_on="3x3"),
)
