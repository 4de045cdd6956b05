"""WXinlong/SOLO, the code of the papers, on mmdetection 1: SOLOv2."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from solo_rt.train.importing.base import Imported, Source
from solo_rt.train.importing.instances import translate_instances
from solo_rt.train.importing.weights_file import WeightsFile

RULES = {
    r"(backbone\.(conv1|bn1|layer\d)\..+)": r"\1",
    r"neck\.(lateral_convs|fpn_convs)\.(\d)\.conv\.(weight|bias)": r"fpn.\1.\2.\3",
    r"bbox_head\.(cate_convs|kernel_convs)\.(\d)\.conv\.(.+)": r"head.\1.\2.0.\3",
    r"bbox_head\.(cate_convs|kernel_convs)\.(\d)\.gn\.(.+)": r"head.\1.\2.1.\3",
    r"bbox_head\.(solo_cate|solo_kernel)\.(.+)": r"head.\1.\2",
    r"mask_feat_head\.convs_all_levels\.(\d)\.conv(\d)\.conv\.(.+)": r"mask_branch.convs_all_levels.\1.\2.0.\3",
    r"mask_feat_head\.convs_all_levels\.(\d)\.conv(\d)\.gn\.(.+)": r"mask_branch.convs_all_levels.\1.\2.1.\3",
    r"mask_feat_head\.conv_pred\.0\.conv\.(.+)": r"mask_branch.conv_pred.0.\1",
    r"mask_feat_head\.conv_pred\.0\.gn\.(.+)": r"mask_branch.conv_pred.1.\1",
}


def _recognises(weights: Mapping[str, Tensor]) -> bool:
    return "mask_feat_head.convs_all_levels.0.conv0.conv.weight" in weights


def _translate(file: WeightsFile) -> Imported:
    return translate_instances(file, RULES)


OFFICIAL = Source("official", "2-clause BSD, non-commercial use only (WXinlong/SOLO)", _recognises, _translate)
