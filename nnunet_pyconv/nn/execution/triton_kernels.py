"""The Triton kernels: matrix products on the tiles that `tiles.py` lays out.

Every kernel serves every layer: what belongs to a layer or a shape is read from tables or passed as a number, and only the
sizes of the products are compiled in. So a network needs a handful of binaries. All sums are in float32, and in a fixed
order.
"""

from __future__ import annotations

import triton
import triton.language as tl

SET = tl.constexpr(16)
"""Columns of `Layout.sets`."""
PART = tl.constexpr(12)
"""Columns of `Layout.parts`."""
FAR = tl.constexpr(1 << 29)
"""A place outside of any image, for padding; sums of two of them are still int32."""

# Triton would otherwise compile a kernel again for numbers that are 1 or divisible by 16.
NUMBERS = (
    *("batch", "channels", "depth", "height", "width"),
    *("target_channels", "target_depth", "target_height", "target_width"),
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
def _read_window(window, row, end, depth, height, width, VECTOR: tl.constexpr):
    """Tell for rows where they read: offset from the block's window, and place in it; far outside for padding."""
    taken = tl.load(window + row // VECTOR, mask=row < end, other=-1)
    taken = tl.max_constancy(taken, VECTOR)
    x = tl.where(taken < 0, FAR, taken & 63)
    y = (taken >> 6) & 63
    z = (taken >> 12) & 63
    offset = ((((taken >> 18) * depth + z) * height + y) * width + (taken & 63)) * VECTOR + row % VECTOR
    return offset, z, y, x


@triton.jit
def _gather(
    source, offset_m, z_m, y_m, x_m, offset_k, z_k, y_k, x_k, depth, height, width, PLANAR: tl.constexpr
):
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

    row = first_in_tile - (tl.load(parts) - tl.load(parts + 1)) + tl.arange(0, ROWS)
    size = edge_z * edge_y * edge_x
    z, y, x = _unfold(row // VECTOR % size, edge_y, edge_x)
    source = row // VECTOR // size * VECTOR + row % VECTOR
    column = tl.arange(0, COLUMNS)
    pixels = fold_z * fold_y * fold_x
    dz, dy, dx = _unfold(column % pixels, fold_y, fold_x)
    target = column // pixels  # in the tile
    group_in_tile = target // outputs
    group = tile * span // outputs + group_in_tile
    output = (tile * span + target) % outputs

    if BACKWARD:
        z = dz[None, :] + kernel_z // 2 + (kernel_z // 2 // stride_z - z[:, None]) * stride_z
        y = dy[None, :] + kernel_y // 2 + (kernel_y // 2 // stride_y - y[:, None]) * stride_y
        x = dx[None, :] + kernel_x // 2 + (kernel_x // 2 // stride_x - x[:, None]) * stride_x
        out_channel = group[None, :] * inputs + (source % inputs)[:, None]
        offset = out_channel * outputs + output[None, :]
    else:
        z = z[:, None] - dz[None, :] * stride_z
        y = y[:, None] - dy[None, :] * stride_y
        x = x[:, None] - dx[None, :] * stride_x
        offset = (group * outputs + output)[None, :] * inputs + (source % inputs)[:, None]
    exists = (z >= 0) & (z < kernel_z) & (y >= 0) & (y < kernel_y) & (x >= 0) & (x < kernel_x)
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
        source: `(batch, channels / VECTOR, depth, height, width, VECTOR)`.
        arranged: `(rows, COLUMNS)`, from `arrange_weights`.
        bias: `(target_channels,)`, float32; ignored without HAS_BIAS.
        target: `(batch, target_channels, target_depth, target_height, target_width)`.
        sets, window: See `tiles.Layout`.
    """
    program = tl.program_id(0)
    blocks_z, blocks_y, blocks_x = _blocks(sets, target_depth, target_height, target_width)
    strips = tl.cdiv(batch * blocks_z * blocks_y * blocks_x, BLOCKS)
    while program >= strips * tl.load(sets):
        program -= strips * tl.load(sets)
        sets += SET
        blocks_z, blocks_y, blocks_x = _blocks(sets, target_depth, target_height, target_width)
        strips = tl.cdiv(batch * blocks_z * blocks_y * blocks_x, BLOCKS)
    tile = program // strips
    fold_z, fold_y, fold_x = _load_three(sets + 6)
    step_z, step_y, step_x = _load_three(sets + 9)
    before_z, before_y, before_x = _load_three(sets + 12)

    m = program % strips * BLOCKS + tl.arange(0, BLOCKS)
    n = m // (blocks_z * blocks_y * blocks_x)
    bz, by, bx = _unfold(m % (blocks_z * blocks_y * blocks_x), blocks_y, blocks_x)
    z_m, y_m, x_m = bz * step_z - before_z, by * step_y - before_y, bx * step_x - before_x
    offset_m = n * (channels * depth * height * width) + ((z_m * height + y_m) * width + x_m) * VECTOR
    y_m = tl.where(n < batch, y_m, FAR)

    tile_rows = tl.load(sets + 1)
    first = tl.load(sets + 2) + tile * tile_rows
    column = tl.arange(0, COLUMNS)
    sums = tl.zeros((BLOCKS, COLUMNS), dtype=tl.float32)
    for row in range(first, first + tile_rows, ROWS):
        k = row + tl.arange(0, ROWS)
        offset_k, z_k, y_k, x_k = _read_window(window, k, first + tile_rows, depth, height, width, VECTOR)
        a = _gather(source, offset_m, z_m, y_m, x_m, offset_k, z_k, y_k, x_k, depth, height, width, PLANAR)
        b = tl.load(arranged + k[:, None] * COLUMNS + column[None, :])
        sums = tl.dot(a, b, sums, input_precision=PRECISION)

    pixels = fold_z * fold_y * fold_x
    dz, dy, dx = _unfold(column % pixels, fold_y, fold_x)
    span = tl.load(sets + 5)
    channel = tl.load(sets + 3) + tile * span + column // pixels
    if HAS_BIAS:
        sums += tl.load(bias + channel, mask=column < span * pixels, other=0.0)[None, :]
    z_m, y_m, x_m = bz * fold_z, by * fold_y, bx * fold_x
    offset_m = ((n * target_channels * target_depth + z_m) * target_height + y_m) * target_width + x_m
    y_m = tl.where(n < batch, y_m, FAR)
    inside = (z_m[:, None] + dz[None, :] < target_depth) & (y_m[:, None] + dy[None, :] < target_height)
    inside &= (x_m[:, None] + dx[None, :] < target_width) & (column < span * pixels)[None, :]
    offset_n = ((channel * target_depth + dz) * target_height + dy) * target_width + dx
    values = sums.to(target.dtype.element_ty)
    if fold_x == 1:  # neighbouring threads shall write neighbouring pixels, and those are blocks here
        tl.store(target + (offset_n[:, None] + offset_m[None, :]), tl.trans(values), mask=tl.trans(inside))
    else:
        tl.store(target + (offset_m[:, None] + offset_n[None, :]), values, mask=inside)


@triton.jit
def _blocks(sets, target_depth, target_height, target_width):
    """Count the blocks of pixels of a set's tiles along z, y and x."""
    fold_z, fold_y, fold_x = _load_three(sets + 6)
    return tl.cdiv(target_depth, fold_z), tl.cdiv(target_height, fold_y), tl.cdiv(target_width, fold_x)


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
        source: `(batch, channels / VECTOR, depth, height, width, VECTOR)`, the input.
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
    first = tl.load(sets + 2) + tile * tl.load(sets + 1)
    end = first + tl.load(sets + 1)
    k = first + program % parts * ROWS + tl.arange(0, ROWS)
    offset_k, z_k, y_k, x_k = _read_window(window, k, end, depth, height, width, VECTOR)

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

    blocks_z, blocks_y, blocks_x = _blocks(sets, target_depth, target_height, target_width)
    strips = tl.cdiv(batch * blocks_z * blocks_y * blocks_x, BLOCKS)
    share = tl.cdiv(strips, tl.num_programs(1))
    from_strip = tl.program_id(1) * share
    # The place of each block is carried along, because dividing for it costs as much as the product.
    m = from_strip * BLOCKS + tl.arange(0, BLOCKS)
    n = m // (blocks_z * blocks_y * blocks_x)
    bz, by, bx = _unfold(m % (blocks_z * blocks_y * blocks_x), blocks_y, blocks_x)
    by_n = BLOCKS // (blocks_z * blocks_y * blocks_x)
    by_z, by_y, by_x = _unfold(BLOCKS % (blocks_z * blocks_y * blocks_x), blocks_y, blocks_x)
    result = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for _ in range(from_strip, tl.minimum(from_strip + share, strips)):
        z_m, y_m, x_m = bz * step_z - before_z, by * step_y - before_y, bx * step_x - before_x
        offset_m = n * (channels * depth * height * width) + ((z_m * height + y_m) * width + x_m) * VECTOR
        y_m = tl.where(n < batch, y_m, FAR)
        a = _gather(source, offset_m, z_m, y_m, x_m, offset_k, z_k, y_k, x_k, depth, height, width, PLANAR)
        z_m, y_m, x_m = bz * fold_z, by * fold_y, bx * fold_x
        offset_m = ((n * target_channels * target_depth + z_m) * target_height + y_m) * target_width + x_m
        y_m = tl.where(n < batch, y_m, FAR)
        inside = (z_m[:, None] + dz[None, :] < target_depth) & (y_m[:, None] + dy[None, :] < target_height)
        inside &= x_m[:, None] + dx[None, :] < target_width
        g = tl.load(gradient + (offset_m[:, None] + offset_n[None, :]), mask=inside, other=0.0)
        result = tl.dot(tl.trans(a), g, result, input_precision=PRECISION)
        bx += by_x
        carry = (bx >= blocks_x).to(tl.int32)
        bx -= carry * blocks_x
        by += by_y + carry
        carry = (by >= blocks_y).to(tl.int32)
        by -= carry * blocks_y
        bz += by_z + carry
        carry = (bz >= blocks_z).to(tl.int32)
        bz -= carry * blocks_z
        n += by_n + carry
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
    span = tl.load(sets + 5)
    fold_z, fold_y, fold_x = _load_three(sets + 6)

    kz, ky, kx = _unfold(index % (kernel_z * kernel_y * kernel_x), kernel_y, kernel_x)
    filter_ = index // (kernel_z * kernel_y * kernel_x)
    channel = filter_ // inputs
    target = channel % span
    source = target // outputs * inputs + filter_ % inputs
    first = tl.load(sets + 2) + channel // span * tl.load(sets + 1)
    result = tl.zeros((SIZE,), dtype=tl.float32)
    for pixel in range(fold_z * fold_y * fold_x):
        dz, dy, dx = _unfold(pixel, fold_y, fold_x)
        place = source // VECTOR * edge_z + kz + dz * stride_z
        place = (place * edge_y + ky + dy * stride_y) * edge_x + kx + dx * stride_x
        row = first + place * VECTOR + source % VECTOR
        offset = row * COLUMNS + target * (fold_z * fold_y * fold_x) + pixel
        for share in range(shares):
            result += tl.load(sums + share * rows * COLUMNS + offset, mask=index < weights, other=0.0)
    tl.store(gradients + index, result.to(gradients.dtype.element_ty), mask=index < weights)
