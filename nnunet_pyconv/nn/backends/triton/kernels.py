"""The Triton kernels: matrix products on the tiles that `tiles.py` lays out.

Every kernel serves every layer: what belongs to a layer or a shape is read from tables or passed as a number, and only
the sizes of the products are compiled in. So a network needs a handful of binaries. All sums are in float32, and in a
fixed order.
"""

from __future__ import annotations

import triton
import triton.language as tl

SET = tl.constexpr(16)
"""Columns of `Layout.sets`."""
PART = tl.constexpr(16)
"""Columns of `Layout.parts`."""
FAR = tl.constexpr(1 << 29)
"""A place outside of any image, for padding; sums of two of them are still int32."""

# Triton would otherwise compile a kernel again for numbers that are 1 or divisible by 16.
NUMBERS = (
    *("batch", "channels", "depth", "height", "width"),
    *("target_channels", "target_depth", "target_height", "target_width"),
    *("box_n", "box_z", "box_y", "box_x"),
    *("stride_z", "stride_y", "stride_x", "rows", "shares", "level", "weights"),
)


@triton.jit
def _unfold(index, along_y, along_x):
    """Split an index into its places along z, y and x."""
    return index // (along_y * along_x), index // along_x % along_y, index % along_x


@triton.jit
def _load_three(pointer):
    return tl.load(pointer), tl.load(pointer + 1), tl.load(pointer + 2)


@triton.jit
def _count_boxes(sets, batch, depth, height, width, box_n, box_z, box_y, box_x):
    """Count the boxes of blocks that cover the target, over the batch and along z, y and x."""
    fold_z, fold_y, fold_x = _load_three(sets + 6)
    boxes_z = tl.cdiv(tl.cdiv(depth, fold_z), 1 << box_z)
    boxes_y = tl.cdiv(tl.cdiv(height, fold_y), 1 << box_y)
    return tl.cdiv(batch, 1 << box_n), boxes_z, boxes_y, tl.cdiv(tl.cdiv(width, fold_x), 1 << box_x)


@triton.jit
def _split_box(BLOCKS: tl.constexpr, box_z, box_y, box_x):
    """Tell where in its box each block lies: image, z, y, x."""
    m = tl.arange(0, BLOCKS)
    z, y, x = m >> (box_x + box_y), m >> box_x, m
    return m >> (box_x + box_y + box_z), z & ((1 << box_z) - 1), y & ((1 << box_y) - 1), x & ((1 << box_x) - 1)


@triton.jit
def _read_window(window, first, end, ROWS: tl.constexpr, VECTOR: tl.constexpr):
    """Read what `ROWS` rows take from the source, see `Layout.window`."""
    row = tl.arange(0, ROWS)
    return tl.load(window + first // VECTOR + row // VECTOR, mask=row // VECTOR * VECTOR < end - first, other=-1)


@triton.jit
def _place(taken, depth, height, width, ROWS: tl.constexpr, VECTOR: tl.constexpr):
    """Tell where rows read, relative to a block's window: offset, z, y, x; far outside for padding."""
    z, y, x = taken >> 12 & 63, taken >> 6 & 63, taken & 63
    # constant and divisible by VECTOR, so that Triton finds out that VECTOR values lie together
    offset = tl.max_constancy((((taken >> 18) * depth + z) * height + y) * width + x, VECTOR) * VECTOR
    x = tl.max_constancy(tl.where(taken < 0, FAR, x), VECTOR)
    return offset + tl.arange(0, ROWS) % VECTOR, tl.max_constancy(z, VECTOR), tl.max_constancy(y, VECTOR), x


@triton.jit
def _gather(source, offset_m, z_m, y_m, x_m, offset_k, z_k, y_k, x_k, depth, height, width, PLANAR: tl.constexpr):
    """Read `(blocks, rows)` values of the source; zeros outside of the image."""
    # unsigned, places before the image are far behind it
    inside = (x_m[:, None] + x_k[None, :]).to(tl.uint32, bitcast=True) < width
    inside &= (y_m[:, None] + y_k[None, :]).to(tl.uint32, bitcast=True) < height
    if not PLANAR:
        inside &= (z_m[:, None] + z_k[None, :]).to(tl.uint32, bitcast=True) < depth
    return tl.load(source + (offset_m[:, None] + offset_k[None, :]), mask=inside, other=0.0)


@triton.jit(do_not_specialize=NUMBERS)
def arrange_weights(
    weights,
    arranged,
    sets,
    parts,
    stride_z,
    stride_y,
    stride_x,
    BACKWARD: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    VECTOR: tl.constexpr,
):
    """Write the weights into the rows and columns of the products; one program for `ROWS` rows.

    Args:
        weights: Of all levels, each `(out_channels, in_channels / groups, KZ, KY, KX)`, one after the other.
        arranged: `(rows, COLUMNS)`, all of it is written.
        sets, parts: See `tiles.Layout`.
    """
    first = tl.program_id(0) * ROWS
    while first >= tl.load(sets + 2) + tl.load(sets) * tl.load(sets + 1):
        sets += SET
    tile_rows = tl.load(sets + 1)
    tile = (first - tl.load(sets + 2)) // tile_rows
    first_in_tile = (first - tl.load(sets + 2)) % tile_rows
    parts += tl.load(sets + 4) * PART
    while first_in_tile >= tl.load(parts):
        parts += PART
    span = tl.load(sets + 5)
    fold_z, fold_y, fold_x = _load_three(sets + 6)
    inputs = tl.load(parts + 3)
    outputs = tl.load(parts + 4)
    kernel_z, kernel_y, kernel_x = _load_three(parts + 5)
    edge_z, edge_y, edge_x = _load_three(parts + 8)
    dilation_z, dilation_y, dilation_x = _load_three(parts + 11)
    pixels = tl.load(parts + 14)  # of a vector
    unused = tl.load(parts + 15)

    row = first_in_tile - (tl.load(parts) - tl.load(parts + 1)) + tl.arange(0, ROWS)
    size = edge_z * edge_y * edge_x
    z, y, x = _unfold(row // VECTOR % size, edge_y, edge_x)
    x = x * pixels + row % pixels - unused
    source = row // VECTOR // size * (VECTOR // pixels) + row % VECTOR // pixels
    column = tl.arange(0, COLUMNS)
    block = fold_z * fold_y * fold_x
    dz, dy, dx = _unfold(column % block, fold_y, fold_x)
    target = column // block  # in the tile
    group_in_tile = target // outputs
    group = tile * span // outputs + group_in_tile
    output = (tile * span + target) % outputs

    if BACKWARD:
        half_z, half_y, half_x = kernel_z // 2 * dilation_z, kernel_y // 2 * dilation_y, kernel_x // 2 * dilation_x
        z = dz[None, :] + half_z + (half_z // stride_z - z[:, None]) * stride_z
        y = dy[None, :] + half_y + (half_y // stride_y - y[:, None]) * stride_y
        x = dx[None, :] + half_x + (half_x // stride_x - x[:, None]) * stride_x
        out_channel = group[None, :] * inputs + (source % inputs)[:, None]
        offset = out_channel * outputs + output[None, :]
    else:
        z = z[:, None] - dz[None, :] * stride_z
        y = y[:, None] - dy[None, :] * stride_y
        x = x[:, None] - dx[None, :] * stride_x
        offset = (group * outputs + output)[None, :] * inputs + (source % inputs)[:, None]
    exists = (z >= 0) & (z % dilation_z == 0) & (y >= 0) & (y % dilation_y == 0) & (x >= 0) & (x % dilation_x == 0)
    z, y, x = z // dilation_z, y // dilation_y, x // dilation_x
    exists &= (z < kernel_z) & (y < kernel_y) & (x < kernel_x)
    exists &= (source // inputs)[:, None] == group_in_tile[None, :]
    exists &= (target < span)[None, :]
    offset = ((offset * kernel_z + z) * kernel_y + y) * kernel_x + x
    values = tl.load(weights + tl.load(parts + 2) + offset, mask=exists, other=0.0)
    tl.store(arranged + (first + tl.arange(0, ROWS))[:, None] * COLUMNS + column[None, :], values)


@triton.jit(do_not_specialize=NUMBERS)
def convolve(
    source,
    arranged,
    bias,
    target,
    sets,
    window,
    batch,
    channels,
    depth,
    height,
    width,
    target_channels,
    target_depth,
    target_height,
    target_width,
    box_n,
    box_z,
    box_y,
    box_x,
    HAS_BIAS: tl.constexpr,
    PLANAR: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCKS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    VECTOR: tl.constexpr,
):
    """Compute the target; one program for one tile of `BLOCKS` blocks of pixels.

    Args:
        source: `(batch, channels, depth, height, width, VECTOR)`; "channels" and "width" are counted in vectors.
        arranged: `(rows, COLUMNS)`, from `arrange_weights`.
        bias: `(target_channels,)`, float32; ignored without HAS_BIAS.
        target: `(batch, target_channels, target_depth, target_height, target_width)`.
        sets, window: See `tiles.Layout`.
    """
    program = tl.program_id(0)
    boxes_n, boxes_z, boxes_y, boxes_x = _count_boxes(
        sets, batch, target_depth, target_height, target_width, box_n, box_z, box_y, box_x
    )
    while program >= boxes_n * boxes_z * boxes_y * boxes_x * tl.load(sets):
        program -= boxes_n * boxes_z * boxes_y * boxes_x * tl.load(sets)
        sets += SET
        boxes_n, boxes_z, boxes_y, boxes_x = _count_boxes(
            sets, batch, target_depth, target_height, target_width, box_n, box_z, box_y, box_x
        )
    tile = program // (boxes_n * boxes_z * boxes_y * boxes_x)
    fold_z, fold_y, fold_x = _load_three(sets + 6)
    step_z, step_y, step_x = _load_three(sets + 9)
    before_z, before_y, before_x = _load_three(sets + 12)
    bz, by, bx = _unfold(program % (boxes_z * boxes_y * boxes_x), boxes_y, boxes_x)
    n = program // (boxes_z * boxes_y * boxes_x) % boxes_n << box_n
    n_m, z_m, y_m, x_m = _split_box(BLOCKS, box_z, box_y, box_x)
    n_m += n
    z_m += bz << box_z
    y_m += by << box_y
    x_m += bx << box_x
    offset_m = ((n_m * channels * depth + z_m * step_z - before_z) * height + y_m * step_y - before_y) * width
    offset_m = (offset_m + x_m * step_x - before_x) * VECTOR
    from_z, from_x = z_m * step_z - before_z, x_m * step_x - before_x
    from_y = tl.where(n_m < batch, y_m * step_y - before_y, FAR)

    tile_rows = tl.load(sets + 1)
    first = tl.load(sets + 2) + tile * tile_rows
    column = tl.arange(0, COLUMNS)
    sums = tl.zeros((BLOCKS, COLUMNS), dtype=tl.float32)
    taken = _read_window(window, first, first + tile_rows, ROWS, VECTOR)
    for row in range(first, first + tile_rows, ROWS):
        offset_k, z_k, y_k, x_k = _place(taken, depth, height, width, ROWS, VECTOR)
        # one step ahead, or Triton would not read the source ahead of the product
        taken = _read_window(window, row + ROWS, first + tile_rows, ROWS, VECTOR)
        a = _gather(source, offset_m, from_z, from_y, from_x, offset_k, z_k, y_k, x_k, depth, height, width, PLANAR)
        b = tl.load(arranged + (row + tl.arange(0, ROWS))[:, None] * COLUMNS + column[None, :])
        sums = tl.dot(a, b, sums, input_precision=PRECISION)

    pixels = fold_z * fold_y * fold_x
    dz, dy, dx = _unfold(column % pixels, fold_y, fold_x)
    span = tl.load(sets + 5)
    channel = tl.load(sets + 3) + tile * span + column // pixels
    if HAS_BIAS:
        sums += tl.load(bias + channel, mask=column < span * pixels, other=0.0)[None, :]
    z_m, y_m, x_m = z_m * fold_z, y_m * fold_y, x_m * fold_x
    offset_m = ((n_m * target_channels * target_depth + z_m) * target_height + y_m) * target_width + x_m
    y_m = tl.where(n_m < batch, y_m, FAR)
    inside = (z_m[:, None] + dz[None, :] < target_depth) & (y_m[:, None] + dy[None, :] < target_height)
    inside &= (x_m[:, None] + dx[None, :] < target_width) & (column < span * pixels)[None, :]
    offset_n = ((channel * target_depth + dz) * target_height + dy) * target_width + dx
    values = sums.to(target.dtype.element_ty)
    if fold_x == 1:  # neighbouring threads shall write neighbouring pixels, and those are blocks here
        tl.store(target + (offset_n[:, None] + offset_m[None, :]), tl.trans(values), mask=tl.trans(inside))
    else:
        tl.store(target + (offset_m[:, None] + offset_n[None, :]), values, mask=inside)


@triton.jit(do_not_specialize=NUMBERS)
def weight_gradient(
    source,
    gradient,
    sums,
    sets,
    window,
    batch,
    channels,
    depth,
    height,
    width,
    target_channels,
    target_depth,
    target_height,
    target_width,
    box_n,
    box_z,
    box_y,
    box_x,
    rows,
    PLANAR: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCKS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    VECTOR: tl.constexpr,
):
    """Sum the gradients of arranged weights over a share of the pixels; one program for `ROWS` rows and one share.

    Args:
        source: `(batch, channels, depth, height, width, VECTOR)`, the input; "channels" and "width" are counted in
            vectors.
        gradient: `(batch, target_channels, target_depth, target_height, target_width)`, of the output.
        sums: `(shares, rows, COLUMNS)`, float32.
        sets, window: See `tiles.Layout`, forward.
        rows: Of all tiles.
    """
    program = tl.program_id(0)
    parts = tl.cdiv(tl.load(sets + 1), ROWS)
    while program >= parts * tl.load(sets):
        program -= parts * tl.load(sets)
        sets += SET
        parts = tl.cdiv(tl.load(sets + 1), ROWS)
    tile = program // parts
    end = tl.load(sets + 2) + (tile + 1) * tl.load(sets + 1)
    first = end - tl.load(sets + 1) + program % parts * ROWS
    taken = _read_window(window, first, end, ROWS, VECTOR)
    offset_k, z_k, y_k, x_k = _place(taken, depth, height, width, ROWS, VECTOR)

    fold_z, fold_y, fold_x = _load_three(sets + 6)
    step_z, step_y, step_x = _load_three(sets + 9)
    before_z, before_y, before_x = _load_three(sets + 12)
    column = tl.arange(0, COLUMNS)
    pixels = fold_z * fold_y * fold_x
    dz, dy, dx = _unfold(column % pixels, fold_y, fold_x)
    span = tl.load(sets + 5)
    channel = tl.load(sets + 3) + tile * span + column // pixels
    offset_n = ((channel * target_depth + dz) * target_height + dy) * target_width + dx
    dy = tl.where(column < span * pixels, dy, FAR)

    boxes_n, boxes_z, boxes_y, boxes_x = _count_boxes(
        sets, batch, target_depth, target_height, target_width, box_n, box_z, box_y, box_x
    )
    boxes = boxes_n * boxes_z * boxes_y * boxes_x
    share = tl.cdiv(boxes, tl.num_programs(1))
    from_box = tl.program_id(1) * share
    n_m, z_m, y_m, x_m = _split_box(BLOCKS, box_z, box_y, box_x)
    in_source = n_m * channels * depth + z_m * step_z
    in_source = ((in_source * height + y_m * step_y) * width + x_m * step_x) * VECTOR
    in_target = n_m * target_channels * target_depth + z_m * fold_z
    in_target = (in_target * target_height + y_m * fold_y) * target_width + x_m * fold_x
    result = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for box in range(from_box, tl.minimum(from_box + share, boxes)):
        bz, by, bx = _unfold(box % (boxes_z * boxes_y * boxes_x), boxes_y, boxes_x)
        n = box // (boxes_z * boxes_y * boxes_x) << box_n
        bz, by, bx = bz << box_z, by << box_y, bx << box_x
        exists = n_m < batch - n

        z, y, x = bz * step_z - before_z, by * step_y - before_y, bx * step_x - before_x
        offset = (((n * channels * depth + z) * height + y) * width + x) * VECTOR
        from_y = tl.where(exists, y_m * step_y + y, FAR)
        a = _gather(
            source + offset,
            in_source,
            z_m * step_z + z,
            from_y,
            x_m * step_x + x,
            offset_k,
            z_k,
            y_k,
            x_k,
            depth,
            height,
            width,
            PLANAR,
        )
        z, y, x = bz * fold_z, by * fold_y, bx * fold_x
        offset = ((n * target_channels * target_depth + z) * target_height + y) * target_width + x
        inside = tl.where(exists, y_m * fold_y + y, FAR)[:, None] + dy[None, :] < target_height
        inside &= (x_m * fold_x + x)[:, None] + dx[None, :] < target_width
        if not PLANAR:
            inside &= (z_m * fold_z + z)[:, None] + dz[None, :] < target_depth
        g = tl.load(gradient + offset + (in_target[:, None] + offset_n[None, :]), mask=inside, other=0.0)
        result = tl.dot(tl.trans(a), g, result, input_precision=PRECISION)
    k = first + tl.arange(0, ROWS)
    offset = (tl.program_id(1) * rows + k)[:, None] * COLUMNS + column[None, :]
    tl.store(sums + offset, result, mask=(k < end)[:, None])


@triton.jit(do_not_specialize=NUMBERS)
def collect_weight_gradient(
    sums,
    gradients,
    sets,
    parts,
    level,
    weights,
    stride_z,
    stride_y,
    stride_x,
    rows,
    shares,
    COLUMNS: tl.constexpr,
    VECTOR: tl.constexpr,
    SIZE: tl.constexpr,
):
    """Sum for each weight of a level all its places in the products, and all shares; one program for `SIZE` weights.

    Args:
        sums: `(shares, rows, COLUMNS)`, from `weight_gradient`.
        gradients: `(weights,)`, those of this level.
        sets, parts: See `tiles.Layout`, forward.
        level: Its number.
        weights: Its weights.
    """
    sets += level * SET
    parts += level * PART
    index = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    inputs = tl.load(parts + 3)
    outputs = tl.load(parts + 4)
    kernel_z, kernel_y, kernel_x = _load_three(parts + 5)
    edge_z, edge_y, edge_x = _load_three(parts + 8)
    dilation_z, dilation_y, dilation_x = _load_three(parts + 11)
    pixels = tl.load(parts + 14)  # of a vector
    unused = tl.load(parts + 15)
    span = tl.load(sets + 5)
    fold_z, fold_y, fold_x = _load_three(sets + 6)

    kz, ky, kx = _unfold(index % (kernel_z * kernel_y * kernel_x), kernel_y, kernel_x)
    filter_ = index // (kernel_z * kernel_y * kernel_x)
    channel = filter_ // inputs
    target = channel % span
    source = target // outputs * inputs + filter_ % inputs
    first = tl.load(sets + 2) + channel // span * tl.load(sets + 1)
    channels = VECTOR // pixels  # of a vector
    result = tl.zeros((SIZE,), dtype=tl.float32)
    for pixel in range(fold_z * fold_y * fold_x):
        dz, dy, dx = _unfold(pixel, fold_y, fold_x)
        place = source // channels * edge_z + kz * dilation_z + dz * stride_z
        place = place * edge_y + ky * dilation_y + dy * stride_y
        x = kx * dilation_x + dx * stride_x + unused
        row = first + (place * edge_x + x // pixels) * VECTOR + source % channels + x % pixels
        offset = row * COLUMNS + target * (fold_z * fold_y * fold_x) + pixel
        for share in range(shares):
            result += tl.load(sums + share * rows * COLUMNS + offset, mask=index < weights, other=0.0)
    tl.store(gradients + index, result.to(gradients.dtype.element_ty), mask=index < weights)
