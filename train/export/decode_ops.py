"""Decoding as ONNX nodes behind the heads: one file for engines that decode by themselves and for TensorRT's plugins.

The nodes `SoloDynamicConv`, `SoloMatrixNms` and `SoloMaskOut` are what `plugins/tensorrt` implements; its README is the
definition of their tensors and attributes. For everybody else each comes with a body of ordinary operators under the
same name, so the file runs in any ONNX runtime. The raw heads stay outputs: an engine that has our native decoder asks
for them alone. The bodies are written for clarity and exactness, not for speed: they hold every mask in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, parser

from solo_rt.decoders import SoloV2Decoder
from solo_rt.engine.operators import DOMAIN, OPERATORS, VERSION
from solo_rt.spec import ModelSpec

# Outputs of the file behind the heads; N is `max_instances`, h x w the grid of the mask features.
DETECTIONS = {
    "num_dets": (TensorProto.INT32, "[B, 1] instances found, at most N"),
    "det_scores": (TensorProto.FLOAT, "[B, N] best first, 0 from num_dets on"),
    "det_labels": (TensorProto.INT32, "[B, N]"),
    "det_regions": (TensorProto.INT32, "[B, N, 4] xyxy in grid cells, as Masks.regions"),
    "det_masks": (TensorProto.INT32, "[B, N, h, w / 4] four uint8 probabilities a word, lowest byte first"),
    "det_counts": (TensorProto.INT32, "[B, 2] candidates decoded and candidates found"),
}

# Words of 32 bits, exact in float32 arithmetic: 16 bits at a time, the upper half in two's complement.
_PACK_BITS = """
    powers = Constant<value_floats = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0,
        8192.0, 16384.0, 32768.0]>()
    column_shape = Constant<value_ints = [16, 1]>()
    column = Reshape(powers, column_shape)
"""
# bits [B, X, W * 32] of 0 and 1 (int32) from words [B, X, W].
_UNPACK_BITS = """
    two16 = Constant<value = int32 {65536}>()
    one32 = Constant<value = int32 {1}>()
    two32 = Constant<value = int32 {2}>()
    low = Mod(words, two16)
    rest = Sub(words, low)
    signed_high = Div(rest, two16)
    high = Mod(signed_high, two16)
    new_axis = Constant<value_ints = [-1]>()
    low_column = Unsqueeze(low, new_axis)
    high_column = Unsqueeze(high, new_axis)
    halves = Concat<axis = -1>(low_column, high_column)
    half_columns = Unsqueeze(halves, new_axis)
    weights = Constant<value = int32[16] {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384,
        32768}>()
    shifted = Div(half_columns, weights)
    bits_apart = Mod(shifted, two32)
    keep_two = Constant<value_ints = [0, 0, -1]>()
    bits = Reshape(bits_apart, keep_two)
"""

_DYNAMIC_CONV = f"""
<domain: "{DOMAIN}", opset_import: ["" : 18]>
SoloDynamicConv <score_threshold, mask_threshold, nms_pre>
(scores, kernels, features) => (best, candidates, counts, masks, areas, soft_sums) {{
    all_scores = Cast<to = 1>(scores)
    as_rows = Constant<value_ints = [0, -1]>()
    flat = Reshape(all_scores, as_rows)
    k = Constant<value_int: int = @nms_pre>()
    axis0 = Constant<value_ints = [0]>()
    axis1 = Constant<value_ints = [1]>()
    axis2 = Constant<value_ints = [2]>()
    last = Constant<value_ints = [-1]>()
    k1 = Unsqueeze(k, axis0)
    three_zeros = Constant<value_ints = [0, 0, 0]>()
    room = Concat<axis = 0>(three_zeros, k1)
    nothing = Constant<value_float = -inf>()
    not_a_number = IsNaN(flat)
    numbers = Where(not_a_number, nothing, flat)
    roomy = Pad(numbers, room, nothing)
    top, index = TopK<axis = 1>(roomy, k1)
    threshold = Constant<value_float: float = @score_threshold>()
    valid = Greater(top, threshold)
    valid_float = Cast<to = 1>(valid)
    zero = Constant<value_float = 0.0>()
    best = Where(valid, top, zero)
    zero64 = Constant<value_int = 0>()
    candidates64 = Where(valid, index, zero64)
    candidates = Cast<to = 6>(candidates64)
    passing = Greater(numbers, threshold)
    passing_int = Cast<to = 6>(passing)
    found = ReduceSum<keepdims = 1>(passing_int, axis1)
    valid_int = Cast<to = 6>(valid)
    decoded = ReduceSum<keepdims = 1>(valid_int, axis1)
    counts = Concat<axis = 1>(decoded, found)

    score_shape = Shape(scores)
    classes = Gather<axis = 0>(score_shape, axis2)
    cells = Div(candidates64, classes)
    cell_column = Unsqueeze(cells, last)
    kernel_float = Cast<to = 1>(kernels)
    chosen = GatherND<batch_dims = 1>(kernel_float, cell_column)
    feature_float = Cast<to = 1>(features)
    as_columns = Constant<value_ints = [0, 0, -1]>()
    pixels = Reshape(feature_float, as_columns)
    logits = MatMul(chosen, pixels)
    t = Constant<value_float: float = @mask_threshold>()
    one = Constant<value_float = 1.0>()
    rest_of_t = Sub(one, t)
    odds = Div(t, rest_of_t)
    border = Log(odds)
    inside = Greater(logits, border)
    inside_float = Cast<to = 1>(inside)
    valid_column = Unsqueeze(valid_float, last)
    bits = Mul(inside_float, valid_column)
    area_float = ReduceSum<keepdims = 0>(bits, axis2)
    areas = Cast<to = 6>(area_float)
    soft = Sigmoid(logits)
    soft_inside = Where(inside, soft, zero)
    soft_valid = Mul(soft_inside, valid_column)
    soft_sums = ReduceSum<keepdims = 0>(soft_valid, axis2)

    bit_shape = Shape(bits)
    pixel_count = Gather<axis = 0>(bit_shape, axis2)
    thirty_two = Constant<value_ints = [32]>()
    negative = Neg(pixel_count)
    missing = Mod(negative, thirty_two)
    five_zeros = Constant<value_ints = [0, 0, 0, 0, 0]>()
    padding = Concat<axis = 0>(five_zeros, missing)
    padded = Pad(bits, padding)
    apart_shape = Constant<value_ints = [0, 0, -1, 2, 16]>()
    apart = Reshape(padded, apart_shape)
    {_PACK_BITS}
    sums = MatMul(apart, column)
    flat_sums = Squeeze(sums, last)
    axis3 = Constant<value_ints = [3]>()
    ints = Cast<to = 6>(flat_sums)
    low_part, high_part = Split<axis = 3, num_outputs = 2>(ints)
    two15 = Constant<value = int32 {{32768}}>()
    two16 = Constant<value = int32 {{65536}}>()
    is_negative = GreaterOrEqual(high_part, two15)
    wrapped = Sub(high_part, two16)
    high_signed = Where(is_negative, wrapped, high_part)
    high_weight = Mul(high_signed, two16)
    word_column = Add(high_weight, low_part)
    masks = Squeeze(word_column, axis3)
}}
"""

_MATRIX_NMS = f"""
<domain: "{DOMAIN}", opset_import: ["" : 18]>
SoloMatrixNms <num_classes, grids, level_strides, linear, sigma, update_threshold, max_instances>
(scores, candidates, counts, masks, areas, soft_sums) => (num_dets, det_scores, labels, cells, slots) {{
    axis0 = Constant<value_ints = [0]>()
    axis1 = Constant<value_ints = [1]>()
    axis2 = Constant<value_ints = [2]>()
    last = Constant<value_ints = [-1]>()
    zero = Constant<value_float = 0.0>()
    one = Constant<value_float = 1.0>()
    classes = Constant<value_int: int = @num_classes>()
    candidates64 = Cast<to = 7>(candidates)
    cell = Div(candidates64, classes)
    cell_start = Mul(cell, classes)
    label = Sub(candidates64, cell_start)

    sides = Constant<value_ints: ints = @grids>()
    squares = Mul(sides, sides)
    first_axis = Constant<value_int = 0>()
    ends = CumSum(squares, first_axis)
    cell_column = Unsqueeze(cell, last)
    beyond = GreaterOrEqual(cell_column, ends)
    beyond_int = Cast<to = 7>(beyond)
    level = ReduceSum<keepdims = 0>(beyond_int, last)
    strides = Constant<value_ints: ints = @level_strides>()
    stride = Gather<axis = 0>(strides, level)

    slot_shape = Shape(scores)
    slot_count = Gather<axis = 0>(slot_shape, axis1)
    slot_scalar = Squeeze(slot_count, axis0)
    start = Constant<value_int = 0>()
    step = Constant<value_int = 1>()
    positions = Range(start, slot_scalar, step)
    both = Cast<to = 7>(counts)
    n = Slice(both, axis0, axis1, axis1)
    exists = Less(positions, n)
    area64 = Cast<to = 7>(areas)
    large = Greater(area64, stride)
    area_float = Cast<to = 1>(areas)
    divisor = Max(area_float, one)
    maskness = Div(soft_sums, divisor)
    rescored = Mul(scores, maskness)
    unknown = IsNaN(rescored)
    known = Not(unknown)
    large_known = And(large, known)
    keep = And(exists, large_known)
    score = Where(keep, rescored, zero)

    words = Identity(masks)
    {_UNPACK_BITS}
    bits_float = Cast<to = 1>(bits)
    bits_down = Transpose<perm = [0, 2, 1]>(bits_float)
    inter = MatMul(bits_float, bits_down)
    area_i = Unsqueeze(area_float, axis2)
    area_j = Unsqueeze(area_float, axis1)
    both_areas = Add(area_i, area_j)
    union = Sub(both_areas, inter)
    union_safe = Max(union, one)
    iou = Div(inter, union_safe)
    score_i = Unsqueeze(score, axis2)
    score_j = Unsqueeze(score, axis1)
    above = Greater(score_i, score_j)
    equal = Equal(score_i, score_j)
    candidate_i = Unsqueeze(candidates64, axis2)
    candidate_j = Unsqueeze(candidates64, axis1)
    earlier = Less(candidate_i, candidate_j)
    tie = And(equal, earlier)
    ahead = Or(above, tie)
    label_i = Unsqueeze(label, axis2)
    label_j = Unsqueeze(label, axis1)
    same = Equal(label_i, label_j)
    keep_i = Unsqueeze(keep, axis2)
    ahead_same = And(ahead, same)
    better = And(ahead_same, keep_i)
    overlap = Where(better, iou, zero)
    worst = ReduceMax<keepdims = 0>(overlap, axis1)
    worst_i = Unsqueeze(worst, axis2)
    width = Constant<value_float: float = @sigma>()
    overlap2 = Mul(overlap, overlap)
    worst2 = Mul(worst_i, worst_i)
    difference = Sub(worst2, overlap2)
    exponent = Mul(width, difference)
    gaussian = Exp(exponent)
    left = Sub(one, overlap)
    left_worst = Sub(one, worst_i)
    tiny = Constant<value_float = 1e-6>()
    left_safe = Max(left_worst, tiny)
    straight = Div(left, left_safe)
    linear_int = Constant<value_int: int = @linear>()
    is_linear = Cast<to = 9>(linear_int)
    factor = Where(is_linear, straight, gaussian)
    factor_better = Where(better, factor, one)
    least = ReduceMin<keepdims = 0>(factor_better, axis1)
    decay = Min(least, one)
    decayed = Mul(score, decay)

    update = Constant<value_float: float = @update_threshold>()
    high_enough = GreaterOrEqual(decayed, update)
    final = And(keep, high_enough)
    nothing = Constant<value_float = -inf>()
    key = Where(final, decayed, nothing)
    by_candidate_value, by_candidate = TopK<axis = 1, largest = 0>(candidates64, slot_count)
    key_by_candidate = GatherElements<axis = 1>(key, by_candidate)
    limit = Constant<value_int: int = @max_instances>()
    limit1 = Unsqueeze(limit, axis0)
    top, order = TopK<axis = 1>(key_by_candidate, limit1)
    chosen = GatherElements<axis = 1>(by_candidate, order)
    real = Greater(top, nothing)
    real_int = Cast<to = 6>(real)
    num_dets = ReduceSum<keepdims = 1>(real_int, axis1)
    det_scores = Where(real, top, zero)
    chosen_label = GatherElements<axis = 1>(label, chosen)
    chosen_cell = GatherElements<axis = 1>(cell, chosen)
    real_label = Where(real, chosen_label, start)
    real_cell = Where(real, chosen_cell, start)
    real_slot = Where(real, chosen, start)
    labels = Cast<to = 6>(real_label)
    cells = Cast<to = 6>(real_cell)
    slots = Cast<to = 6>(real_slot)
}}
"""

_MASK_OUT = f"""
<domain: "{DOMAIN}", opset_import: ["" : 18]>
SoloMaskOut <mask_threshold>
(kernels, features, masks, num_dets, cells, slots) => (regions, soft) {{
    axis0 = Constant<value_ints = [0]>()
    axis1 = Constant<value_ints = [1]>()
    axis2 = Constant<value_ints = [2]>()
    axis3 = Constant<value_ints = [3]>()
    last2 = Constant<value_ints = [-1]>()
    one64 = Constant<value_int = 1>()
    zero64 = Constant<value_int = 0>()
    feature_float = Cast<to = 1>(features)
    feature_shape = Shape(features)
    h = Gather<axis = 0>(feature_shape, axis2)
    w = Gather<axis = 0>(feature_shape, axis3)
    h0 = Squeeze(h, axis0)
    w0 = Squeeze(w, axis0)
    same_two = Constant<value_ints = [0, 0]>()
    map_shape = Concat<axis = 0>(same_two, h, w)
    as_columns = Constant<value_ints = [0, 0, -1]>()
    pixels = Reshape(feature_float, as_columns)
    kernel_float = Cast<to = 1>(kernels)
    cells64 = Cast<to = 7>(cells)
    cell_column = Unsqueeze(cells64, last2)
    chosen = GatherND<batch_dims = 1>(kernel_float, cell_column)
    products = MatMul(chosen, pixels)
    t = Constant<value_float: float = @mask_threshold>()
    one = Constant<value_float = 1.0>()
    rest_of_t = Sub(one, t)
    odds = Div(t, rest_of_t)
    border = Log(odds)
    logits = Sub(products, border)
    probability = Sigmoid(logits)
    most = Constant<value_float = 255.0>()
    half = Constant<value_float = 0.5>()
    scaled = Mul(probability, most)
    raised = Add(scaled, half)
    rounded = Floor(raised)

    slots64 = Cast<to = 7>(slots)
    slot_column = Unsqueeze(slots64, last2)
    words = GatherND<batch_dims = 1>(masks, slot_column)
    {_UNPACK_BITS}
    hw = Mul(h, w)
    own_bits = Slice(bits, axis0, hw, axis2)
    bit_map = Reshape(own_bits, map_shape)
    slot_shape = Shape(slots)
    slot_count = Gather<axis = 0>(slot_shape, axis1)
    slot_scalar = Squeeze(slot_count, axis0)
    positions = Range(zero64, slot_scalar, one64)
    n = Cast<to = 7>(num_dets)
    real = Less(positions, n)
    real_int = Cast<to = 6>(real)
    real_column = Unsqueeze(real_int, axis2)
    real_map = Unsqueeze(real_column, axis3)
    real_bits = Mul(bit_map, real_map)
    is_set = Cast<to = 9>(real_bits)
    inside_least = Constant<value_float = 128.0>()
    outside_most = Constant<value_float = 127.0>()
    flat_set = Reshape(is_set, as_columns)
    if_set = Max(rounded, inside_least)
    if_clear = Min(rounded, outside_most)
    byte_rows = Where(flat_set, if_set, if_clear)
    byte_map = Reshape(byte_rows, map_shape)

    rows_int = ReduceMax<keepdims = 0>(real_bits, axis3)
    columns_int = ReduceMax<keepdims = 0>(real_bits, axis2)
    any_row = Cast<to = 9>(rows_int)
    any_column = Cast<to = 9>(columns_int)
    ys = Range(zero64, h0, one64)
    xs = Range(zero64, w0, one64)
    ys_after = Add(ys, one64)
    xs_after = Add(xs, one64)
    y_first_of = Where(any_row, ys, h0)
    x_first_of = Where(any_column, xs, w0)
    y_last_of = Where(any_row, ys_after, zero64)
    x_last_of = Where(any_column, xs_after, zero64)
    y_first = ReduceMin<keepdims = 1>(y_first_of, axis2)
    x_first = ReduceMin<keepdims = 1>(x_first_of, axis2)
    y_end = ReduceMax<keepdims = 1>(y_last_of, axis2)
    x_end = ReduceMax<keepdims = 1>(x_last_of, axis2)
    y0_wide = Sub(y_first, one64)
    x0_wide = Sub(x_first, one64)
    y1_wide = Add(y_end, one64)
    x1_wide = Add(x_end, one64)
    y0 = Max(y0_wide, zero64)
    x0 = Max(x0_wide, zero64)
    y1 = Min(y1_wide, h0)
    x1 = Min(x1_wide, w0)
    box = Concat<axis = 2>(x0, y0, x1, y1)
    filled = Greater(y_end, zero64)
    filled_box = Where(filled, box, zero64)
    regions = Cast<to = 6>(filled_box)
    rx0, ry0, rx1, ry1 = Split<axis = 2, num_outputs = 4>(filled_box)
    from_left = GreaterOrEqual(xs, rx0)
    to_right = Less(xs, rx1)
    from_top = GreaterOrEqual(ys, ry0)
    to_bottom = Less(ys, ry1)
    in_x = And(from_left, to_right)
    in_y = And(from_top, to_bottom)
    in_x_map = Unsqueeze(in_x, axis2)
    in_y_map = Unsqueeze(in_y, axis3)
    in_region = And(in_x_map, in_y_map)
    zero = Constant<value_float = 0.0>()
    shown = Where(in_region, byte_map, zero)

    quads_shape = Constant<value_ints = [0, 0, 0, -1, 2, 2]>()
    quads = Reshape(shown, quads_shape)
    byte_weights = Constant<value_floats = [1.0, 256.0]>()
    weighted = Mul(quads, byte_weights)
    halves_float = ReduceSum<keepdims = 0>(weighted, last2)
    halves_int = Cast<to = 6>(halves_float)
    low_part, high_part = Split<axis = 4, num_outputs = 2>(halves_int)
    two15 = Constant<value = int32 {{32768}}>()
    is_negative = GreaterOrEqual(high_part, two15)
    wrapped = Sub(high_part, two16)
    high_signed = Where(is_negative, wrapped, high_part)
    high_weight = Mul(high_signed, two16)
    word_column = Add(high_weight, low_part)
    axis4 = Constant<value_ints = [4]>()
    soft = Squeeze(word_column, axis4)
}}
"""


def attach_decoder(model: ModelProto, spec: ModelSpec) -> None:
    """Put the decoding nodes and their bodies behind the heads of a SOLOv2 file, in place.

    `model` has the outputs of `SoloV2Decoder`; it keeps them and gains `DETECTIONS`. The bodies are in the opset of the
    model's own nodes, because runtimes inline them there. Raises: ValueError where the decoder is of another kind.
    """
    decoder = spec.decoder
    if not isinstance(decoder, SoloV2Decoder):
        raise ValueError(f"expected a SOLOv2 decoder, got {decoder.kind}")
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    graph = model.graph
    graph.node.extend(_nodes(spec, decoder))
    shapes = replace(spec, decoder=decoder.detections()).output_shapes
    for name, (kind, _) in DETECTIONS.items():
        graph.output.append(helper.make_tensor_value_info(name, kind, shapes[name]))
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    for text in (_DYNAMIC_CONV, _MATRIX_NMS, _MASK_OUT):
        model.functions.append(_function(text, opset))


def _nodes(spec: ModelSpec, decoder: SoloV2Decoder) -> list[NodeProto]:
    """Return the three nodes, every attribute spelt out: TensorRT passes no others on."""
    k = decoder.nms_pre
    candidates = ["candidate_scores", "candidates", "det_counts", "bit_masks", "areas", "soft_sums"]
    found = ["num_dets", "det_scores", "det_labels", "det_cells", "det_slots"]
    threshold = {"mask_threshold": float(decoder.mask_threshold)}
    return [
        _node(
            OPERATORS[0],
            ["scores", "kernels", "features"],
            candidates,
            {"score_threshold": float(decoder.score_threshold), **threshold, "nms_pre": k},
        ),
        _node(
            OPERATORS[1],
            candidates,
            found,
            {
                "num_classes": len(spec.classes),
                "grids": list(decoder.grids),
                "level_strides": list(decoder.level_strides),
                "linear": int(decoder.nms_kernel == "linear"),
                "sigma": float(decoder.nms_sigma),
                "update_threshold": float(decoder.update_threshold),
                "max_instances": decoder.detections().max_instances,
            },
        ),
        _node(
            OPERATORS[2],
            ["kernels", "features", "bit_masks", "num_dets", "det_cells", "det_slots"],
            ["det_regions", "det_masks"],
            threshold,
        ),
    ]


def _node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, float | int | list[int]]
) -> NodeProto:
    # Both of the plugin attributes: from TensorRT 10.15 on their presence is what makes the plugin win over the body.
    node = helper.make_node(operator, inputs, outputs, name=operator, domain=DOMAIN)
    for name, value in [*attributes.items(), ("plugin_version", VERSION), ("plugin_namespace", "")]:
        node.attribute.append(helper.make_attribute(name, value))
    return node


def _function(text: str, opset: int) -> FunctionProto:
    function = parser.parse_function(text)
    function.attribute.extend(["plugin_version", "plugin_namespace"])  # ours to declare, as the nodes carry them
    function.opset_import[0].version = opset
    return function
