"""OpenFirework/pytorch_solov2: SOLOv2 Light on ResNet-18 and 34, a rewriting of WXinlong/SOLO without mmdetection."""

from __future__ import annotations

from functools import partial

from solo_rt.train.importing.base import Source, has
from solo_rt.train.importing.instances import translate_instances

RULES = {
    r"(backbone\.(conv1|bn1|layer\d)\..+)": r"\1",
    r"(fpn\.(lateral_convs|fpn_convs)\.\d\.(weight|bias))": r"\1",
    r"bbox_head\.((cate_convs|kernel_convs)\.\d\.[01]\..+)": r"head.\1",
    r"bbox_head\.((solo_cate|solo_kernel)\..+)": r"head.\1",
    r"mask_feat_head\.convs_all_levels\.(\d)\.conv(\d)\.([01]\..+)": r"mask_branch.convs_all_levels.\1.\2.\3",
    r"mask_feat_head\.(conv_pred\.[01]\..+)": r"mask_branch.\1",
}

SEED = Source(
    "seed",
    "none stated (OpenFirework/pytorch_solov2)",
    has("bbox_head.cate_convs.0.0.weight"),
    partial(translate_instances, rules=RULES, stride_on="3x3"),
)
