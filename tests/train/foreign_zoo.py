"""Names of modules in Tramac/awesome-semantic-segmentation-pytorch, as `foreign_semantic` has those of others."""

from __future__ import annotations

from foreign_semantic import AUX, ENC_HEAD, R50S, resnet

TRAMAC_BISENET = (
    resnet("context_path", (2, 2, 2, 2), convs=2)
    + """
    spatial.0.0 = spatial_path.conv7x7.conv
    spatial.0.1 = spatial_path.conv7x7.bn
    spatial.{1-2}.0 = spatial_path.conv3x3_{1-2}.conv
    spatial.{1-2}.1 = spatial_path.conv3x3_{1-2}.bn
    spatial.3.0 = spatial_path.conv1x1.conv
    spatial.3.1 = spatial_path.conv1x1.bn
    picture.{0-1} = context_path.global_context.gap.{1-2}
    refine5.conv.0 = context_path.arms.0.conv3x3.conv
    refine5.conv.1 = context_path.arms.0.conv3x3.bn
    refine5.gate.0 = context_path.arms.0.channel_attention.1.conv
    refine5.gate.1 = context_path.arms.0.channel_attention.1.bn
    refine4.conv.0 = context_path.arms.1.conv3x3.conv
    refine4.conv.1 = context_path.arms.1.conv3x3.bn
    refine4.gate.0 = context_path.arms.1.channel_attention.1.conv
    refine4.gate.1 = context_path.arms.1.channel_attention.1.bn
    smooth5.0 = context_path.refines.0.conv
    smooth5.1 = context_path.refines.0.bn
    smooth4.0 = context_path.refines.1.conv
    smooth4.1 = context_path.refines.1.bn
    fusion.mix.0 = ffm.conv1x1.conv
    fusion.mix.1 = ffm.conv1x1.bn
    fusion.gate.{0-1}.0 = ffm.channel_attention.{1-2}.conv
    fusion.gate.{0-1}.1 = ffm.channel_attention.{1-2}.bn
    head.0.0 = head.block.0.conv
    head.0.1 = head.block.0.bn
    head.2 = head.block.2
    aux.{0-1}.0.0 = auxlayer{1-2}.block.0.conv
    aux.{0-1}.0.1 = auxlayer{1-2}.block.0.bn
    aux.{0-1}.2 = auxlayer{1-2}.block.2
"""
)

TRAMAC_ICNET = (
    R50S
    + """
    quarter.{0-1}.0 = conv_sub1.{0-1}.conv
    quarter.{0-1}.1 = conv_sub1.{0-1}.bn
    eighth.0 = conv_sub1.2.conv
    eighth.1 = conv_sub1.2.bn
    fuse16.coarse.{0-1} = head.cff_24.conv_low.{0-1}
    fuse16.fine.{0-1} = head.cff_24.conv_high.{0-1}
    fuse16.guide = head.cff_24.conv_low_cls
    fuse8.coarse.{0-1} = head.cff_12.conv_low.{0-1}
    fuse8.fine.{0-1} = head.cff_12.conv_high.{0-1}
    fuse8.guide = head.cff_12.conv_low_cls
    classifier = head.conv_cls
"""
)

DENSENET = "".join(
    f"""
    backbone.features.denseblock{block}.denselayer{i}.norm{{1-2}} = \
pretrained.features.denseblock{block}.denselayer{i}.norm{{1-2}}
    backbone.features.denseblock{block}.denselayer{i}.conv{{1-2}} = \
pretrained.features.denseblock{block}.denselayer{i}.conv{{1-2}}"""
    for block, depth in enumerate((6, 12, 24, 16), 1)
    for i in range(1, depth + 1)
)
TRAMAC_DENSEASPP = f"""{DENSENET}
    backbone.features.conv0 = pretrained.features.conv0
    backbone.features.norm0 = pretrained.features.norm0
    backbone.features.norm5 = pretrained.features.norm5
    backbone.features.transition{{1-3}}.norm = pretrained.features.transition{{1-3}}.norm
    backbone.features.transition{{1-3}}.conv = pretrained.features.transition{{1-3}}.conv
    stages.0.{{0-1}}.0 = head.dense_aspp_block.aspp_3.conv{{1-2}}
    stages.0.{{0-1}}.1 = head.dense_aspp_block.aspp_3.bn{{1-2}}
    stages.1.{{0-1}}.0 = head.dense_aspp_block.aspp_6.conv{{1-2}}
    stages.1.{{0-1}}.1 = head.dense_aspp_block.aspp_6.bn{{1-2}}
    stages.2.{{0-1}}.0 = head.dense_aspp_block.aspp_12.conv{{1-2}}
    stages.2.{{0-1}}.1 = head.dense_aspp_block.aspp_12.bn{{1-2}}
    stages.3.{{0-1}}.0 = head.dense_aspp_block.aspp_18.conv{{1-2}}
    stages.3.{{0-1}}.1 = head.dense_aspp_block.aspp_18.bn{{1-2}}
    stages.4.{{0-1}}.0 = head.dense_aspp_block.aspp_24.conv{{1-2}}
    stages.4.{{0-1}}.1 = head.dense_aspp_block.aspp_24.bn{{1-2}}
    classifier.1 = head.block.1
    aux.0.0.{{0-1}} = auxlayer.block.{{0-1}}
    aux.0.2 = auxlayer.block.4
"""

TRAMAC_ENCNET = R50S + ENC_HEAD + AUX

TRAMAC_DANET = (
    R50S
    + """
    branches.0.0.{0-1} = head.conv_p1.{0-1}
    branches.0.1.query = head.pam.conv_b
    branches.0.1.key = head.pam.conv_c
    branches.0.1.value = head.pam.conv_d
    branches.0.1 = head.pam
    branches.0.2.{0-1} = head.conv_p2.{0-1}
    branches.1.0.{0-1} = head.conv_c1.{0-1}
    branches.1.1 = head.cam
    branches.1.2.{0-1} = head.conv_c2.{0-1}
    classifier.1 = head.out.1
    aux.0.1 = head.conv_p3.1
    aux.1.1 = head.conv_c3.1
"""
)

TRAMAC_OCNET_BASE = (
    R50S
    + AUX
    + """
    head.0.{0-1} = head.context.{0-1}
    head.1.contexts.0.key.{0-1} = head.context.3.stages.0.f_key.{0-1}
    head.1.contexts.0.value = head.context.3.stages.0.f_value
    head.1.contexts.0.out = head.context.3.stages.0.W
    head.1.mix.0.{0-1} = head.context.3.project.{0-1}
    head.2 = head.out
"""
)
TRAMAC_OCNET_PYRAMID = (
    R50S
    + AUX
    + """
    head.0.{0-1} = head.context.{0-1}
    head.1.contexts.{0-3}.key.0 = head.context.3.stages.{0-3}.f_key.0
    head.1.contexts.{0-3}.key.1 = head.context.3.stages.{0-3}.f_key.1
    head.1.contexts.{0-3}.value = head.context.3.stages.{0-3}.f_value
    head.1.contexts.{0-3}.out = head.context.3.stages.{0-3}.W
    head.1.widen.{0-1} = head.context.3.up_dr.{0-1}
    head.1.mix.0.{0-1} = head.context.3.project.{0-1}
    head.2 = head.out
"""
)
TRAMAC_OCNET_ASP = (
    R50S
    + AUX
    + """
    head.0.branches.0.0.{0-1} = head.context.context.{0-1}
    head.0.branches.0.1.context.key.{0-1} = head.context.context.3.stages.0.f_key.{0-1}
    head.0.branches.0.1.context.value = head.context.context.3.stages.0.f_value
    head.0.branches.0.1.context.out = head.context.context.3.stages.0.W
    head.0.branches.0.1.mix.0.{0-1} = head.context.context.3.project.{0-1}
    head.0.branches.{1-4}.0 = head.context.b{1-4}.0
    head.0.branches.{1-4}.1 = head.context.b{1-4}.1
    head.0.mix.0.{0-1} = head.context.project.{0-1}
    head.1 = head.out
"""
)

TRAMAC_DUNET = (
    R50S
    + """
    low3.{0-1} = head.fuse.conv2.{0-1}
    low4.{0-1} = head.fuse.conv3.{0-1}
    fuse.0.{0-1} = head.block.{0-1}
    fuse.1.{0-1} = head.block.{3-4}
    upsample.expand = dupsample.conv_w
    aux.0.{0-1} = auxlayer.block.{0-1}
    aux.2 = auxlayer.block.4
    aux_upsample.expand = aux_dupsample.conv_w
"""
)

TRAMAC_PSPNET = (
    R50S
    + AUX
    + """
    head.0.branches.{0-3}.0 = head.psp.conv{1-4}.0
    head.0.branches.{0-3}.1 = head.psp.conv{1-4}.1
    head.0.out.{0-1} = head.block.{0-1}
    head.2 = head.block.4
"""
)

TRAMAC_DEEPLABV3 = (
    R50S
    + AUX
    + """
    head.0.branches.0.{0-1} = head.aspp.b0.{0-1}
    head.0.branches.{1-3}.0 = head.aspp.b{1-3}.block.0
    head.0.branches.{1-3}.1 = head.aspp.b{1-3}.block.1
    head.0.picture.{0-1} = head.aspp.b4.gap.{1-2}
    head.0.out.0.{0-1} = head.aspp.project.{0-1}
    head.1.0.{0-1} = head.block.{0-1}
    head.1.2 = head.block.4
"""
)

FCN_HEAD = """
    head.0.{0-1} = head.block.{0-1}
    head.2 = head.block.4
"""
TRAMAC_FCN = R50S + AUX + FCN_HEAD
VGG16 = "\n".join(f"backbone.features.{i} = pretrained.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))
TRAMAC_FCN32S = VGG16 + AUX + FCN_HEAD
TRAMAC_FCN16S = TRAMAC_FCN32S + "scores.0 = score_pool4"
TRAMAC_FCN8S = TRAMAC_FCN16S + "\nscores.1 = score_pool3"

TRAMAC_CGNET = """
    stem.{0-2}.0 = stage1_{0-2}.conv
    stem.{0-2}.1 = stage1_{0-2}.bn
    stem.{0-2}.2 = stage1_{0-2}.prelu
    join{1-3}.0 = bn_prelu{1-3}.bn
    join{1-3}.1 = bn_prelu{1-3}.prelu
    classifier.1 = head.1
    down{2-3}.0.0 = stage{2-3}_0.conv.conv
    down{2-3}.0.1 = stage{2-3}_0.conv.bn
    down{2-3}.0.2 = stage{2-3}_0.conv.prelu
    down{2-3}.1.near = stage{2-3}_0.f_loc.conv
    down{2-3}.1.far = stage{2-3}_0.f_sur.conv
    down{2-3}.1.joint.0 = stage{2-3}_0.bn
    down{2-3}.1.joint.1 = stage{2-3}_0.prelu
    down{2-3}.2 = stage{2-3}_0.reduce
    down{2-3}.3.gate.0 = stage{2-3}_0.f_glo.fc.0
    down{2-3}.3.gate.2 = stage{2-3}_0.f_glo.fc.2
""" + "".join(
    f"""
    {block}.block.0.0 = {block}.conv.conv
    {block}.block.0.1 = {block}.conv.bn
    {block}.block.0.2 = {block}.conv.prelu
    {block}.block.1.near = {block}.f_loc.conv
    {block}.block.1.far = {block}.f_sur.conv
    {block}.block.1.joint.0 = {block}.bn
    {block}.block.1.joint.1 = {block}.prelu
    {block}.block.2.gate.0 = {block}.f_glo.fc.0
    {block}.block.2.gate.2 = {block}.f_glo.fc.2
"""
    for block in ["stage2.0", "stage2.1", *(f"stage3.{i}" for i in range(20))]
)
