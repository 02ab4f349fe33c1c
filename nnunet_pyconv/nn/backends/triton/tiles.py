"""How the Triton kernels cut a layer into matrix products.

A group with one or two output channels is, pixel by pixel, a matrix product with one or two columns, which a tensor
core can't use. So a *tile* computes in the columns of one product, besides a span of consecutive channels, a block of
neighbouring pixels (the fold):

    columns: (channel, z, y, x) of the block;    rows: (channel, z, y, x) of the window that the whole block sees.

The weights are arranged so that each column has its kernel at its place in the window, and zeros elsewhere. Along an
axis on which a block is one pixel, the window of a dilated level holds only what the kernel's elements meet. The
gradient of the input is such a product on the gradient of the output: there, a tile's rows are those of all levels that
convolve the same channels, and with a stride the block is a multiple of it, so that each phase has columns of its own.
"Source" and "target" are the input and the output forward, and their gradients the other way round backward.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nnunet_pyconv.nn.level import Level

Axes = tuple[int, int, int]

ROWS = 16
"""The rows of each level in a tile are padded to a multiple of this."""
TILE_ROWS = 64
"""The rows of a tile are padded to a multiple of this."""
_COLUMNS = (16, 32, 64)
_AT_ONCE = (8, 4, 2, 1)
_GATHER = 32
"""What it costs to bring a value of the source to the tensor core, in multiplications. Reasoned, not measured: with 32
columns, shared memory, address arithmetic and tensor cores of an A100 are about equally busy."""
_MOST_CHANNELS = 1 << 13
_LARGEST_WINDOW = 1 << 6


@dataclass(frozen=True)
class Layout:
    """All tiles of a launch.

    Tiles of the same shape form a set: those of one level, or backward of all that convolve the same channels.

    Attributes:
        columns: Columns of the products.
        vector: Channels that are read at once; the source is `(N, C / vector, Z, Y, X, vector)` in memory.
        tile_sets: For each set the number of tiles, the rows of each, and the target pixels of its block.
        sets: `(sets, 16)`, int32: tiles, rows of each, first row, first target channel, first part, span, then along z,
            y and x: fold, step of the window from block to block, pixels of the window before the block; a zero.
        parts: `(parts, 16)`, int32, the levels in the rows of a set's tiles: end of its rows in the tile, rows, first
            weight in the concatenation of all, channels of a group in the source and in the target, then along z, y and
            x: kernel, places of the window, places from one element of the kernel to the next; two zeros.
        window: int32, for each `vector` of rows what they take from the source: channel / vector, and place in the
            window along z, y and x in six bits each; -1 for padding.
    """

    columns: int
    vector: int
    tile_sets: tuple[tuple[int, int, Axes], ...]
    sets: torch.Tensor
    parts: torch.Tensor
    window: torch.Tensor

    @property
    def rows(self) -> int:
        """Rows of all tiles."""
        return self.window.numel() * self.vector


@dataclass(frozen=True)
class _Part:
    """A level in one direction.

    Attributes:
        groups: Number of groups.
        inputs: Channels of a group in the source.
        outputs: Channels of a group in the target.
        kernel: Its edges.
        dilation: Of the kernel, in pixels.
        source: Its first channel of the source.
        weight: Its first weight in the concatenation of all.
    """

    groups: int
    inputs: int
    outputs: int
    kernel: Axes
    dilation: Axes
    source: int
    weight: int


@dataclass(frozen=True)
class _Window:
    """The pixels of the source that a block of the target sees, along each axis.

    Attributes:
        edges: How many.
        apart: Pixels from one to the next.
        dilation: How many of them from one element of the kernel to the next.
        before: Pixels from the first of them to the block's own first pixel.
    """

    edges: Axes
    apart: Axes
    dilation: Axes
    before: Axes


@dataclass(frozen=True)
class _Cut:
    """The target channels and pixels of a tile, and what a target pixel costs then."""

    span: int
    fold: Axes
    cost: float


def supports(levels: Sequence[Level], stride: Sequence[int]) -> bool:
    """Tell whether such tiles exist: the bits of `Layout.window` and the largest number of columns must be enough."""
    in_channels = max(level.first_in_channel + level.in_channels for level in levels)
    channels = max(in_channels, sum(level.out_channels for level in levels))
    reach = max(max(level.reach) for level in levels)
    return channels < _MOST_CHANNELS and reach + 1 < _LARGEST_WINDOW and math.prod(stride) <= _COLUMNS[-1]


def three(per_axis: Sequence[int]) -> Axes:
    """Extend what is given for each spatial axis to z, y and x, by ones."""
    z, y, x = (*[1] * (3 - len(per_axis)), *per_axis)
    return z, y, x


@functools.lru_cache(maxsize=256)
def lay_out(levels: tuple[Level, ...], stride: Axes, backward: bool, most_at_once: int, device: torch.device) -> Layout:
    """Cut a layer into tiles.

    Args:
        levels: The levels.
        stride: Along z, y and x.
        backward: For the gradient of the input instead of the output.
        most_at_once: Largest `Layout.vector`, a power of two.
        device: Where the tables shall be.

    Raises:
        ValueError: No tiles exist, see `supports`.
    """
    columns, at_once, part_sets, cuts = _best_cut(levels, stride, backward)
    vector = min(at_once, most_at_once)
    sets: list[list[int]] = []
    part_rows: list[list[int]] = []
    windows = []
    first_row = target = 0
    for parts, cut in zip(part_sets, cuts, strict=True):
        tiles, first_part = parts[0].groups * parts[0].outputs // cut.span, len(part_rows)
        shapes = [_window(part, cut.fold, stride, backward) for part in parts]
        counts = _rows(parts, cut.span, shapes)
        before = three([max(axis) for axis in zip(*(shape.before for shape in shapes), strict=True)])
        places = []
        for n, (part, shape, count) in enumerate(zip(parts, shapes, counts, strict=True), 1):
            part_rows.append([sum(counts[:n]), count, part.weight, part.inputs, part.outputs])
            part_rows[-1] += [*part.kernel, *shape.edges, *shape.dilation, 0, 0]
            places.append(_places(part, cut.span, tiles, count, shape, before, vector))
        windows.append(torch.cat(places, dim=1).flatten())
        step = [r // s if backward else r * s for r, s in zip(cut.fold, stride, strict=True)]
        sets.append([tiles, sum(counts), first_row, target, first_part, cut.span, *cut.fold, *step, *before, 0])
        first_row += tiles * sum(counts)
        target += tiles * cut.span
    return Layout(
        columns,
        vector,
        tuple((s[0], s[1], cut.fold) for s, cut in zip(sets, cuts, strict=True)),
        torch.tensor(sets, dtype=torch.int32, device=device),
        torch.tensor(part_rows, dtype=torch.int32, device=device),
        torch.cat(windows).to(device=device, dtype=torch.int32),
    )


def _places(part: _Part, span: int, tiles: int, rows: int, window: _Window, before: Axes, vector: int) -> torch.Tensor:
    """What the rows of a part take in each tile, `(tiles, rows / vector)`, see `Layout.window`.

    Args:
        part: The part.
        span: Target channels of a tile.
        tiles: How many tiles.
        rows: Of the part in a tile.
        window: What it takes of the source.
        before: Pixels before the block's own first in the window of all parts.
        vector: See `Layout.vector`.
    """
    row = torch.arange(rows // vector)
    (_, edge_y, edge_x), size = window.edges, math.prod(window.edges)
    block, place = row // size, row % size
    z, y, x = (
        (along * apart + all_before - own)
        for along, apart, all_before, own in zip(
            (place // (edge_y * edge_x), place // edge_x % edge_y, place % edge_x),
            window.apart,
            before,
            window.before,
            strict=True,
        )
    )
    group = torch.arange(tiles)[:, None] * span // part.outputs
    channel = (part.source + group * part.inputs) // vector + block
    taken = channel << 18 | (z << 12 | y << 6 | x)
    return taken.masked_fill(block >= _channels(part, span) // vector, -1)


@functools.lru_cache(maxsize=256)
def _best_cut(
    levels: tuple[Level, ...], stride: Axes, backward: bool
) -> tuple[int, int, list[list[_Part]], list[_Cut]]:
    """Choose columns, channels to read at once, and how each set of parts is cut for them, by the estimated cost."""
    part_sets = _part_sets(levels, backward)
    choices = []
    for columns, at_once in itertools.product(_COLUMNS, _AT_ONCE):
        cuts = [_cuts(parts, stride, backward, columns, at_once) for parts in part_sets]
        if all(cuts):
            best = [min(some, key=lambda cut: cut.cost) for some in cuts]
            choices.append((sum(cut.cost for cut in best), columns, at_once, best))
    if not choices:
        raise ValueError(f"no tiles for stride {stride} and {levels}")
    _, columns, at_once, best = min(choices, key=lambda choice: choice[0])
    return columns, at_once, part_sets, best


def _part_sets(levels: Sequence[Level], backward: bool) -> list[list[_Part]]:
    parts, outputs, weights = [], 0, 0
    for z in levels:
        kernel, dilation = three(z.kernel_size), three(z.dilation)
        if backward:
            parts.append(_Part(z.groups, z.outputs, z.inputs, kernel, dilation, outputs, weights))
        else:
            parts.append(_Part(z.groups, z.inputs, z.outputs, kernel, dilation, z.first_in_channel, weights))
        outputs += z.out_channels
        weights += z.out_channels * z.inputs * math.prod(kernel)
    together = backward and all(z.first_in_channel == 0 for z in levels)
    return [parts] if together else [[part] for part in parts]


def _cuts(parts: Sequence[_Part], stride: Axes, backward: bool, columns: int, at_once: int) -> list[_Cut]:
    """All ways to cut the targets of some parts for so many columns and channels to read at once."""
    cuts = []
    channels = parts[0].groups * parts[0].outputs
    gather = _GATHER * max(1, 4 // at_once)  # as many instructions for one value as for four
    least = stride if backward else (1, 1, 1)
    grows = [any(part.kernel[axis] > 1 for part in parts) for axis in range(3)]
    folds = list(
        itertools.product(*([s * 2**n for n in range(6 if grow else 1)] for s, grow in zip(least, grows, strict=True)))
    )
    for span in range(1, min(channels, columns) + 1):
        if channels % span or any(span % part.outputs and part.outputs % span for part in parts):
            continue
        if any(n % at_once for part in parts for n in (_channels(part, span), part.source)):
            continue
        for fold in folds:
            pixels = math.prod(fold)
            windows = [_window(part, fold, stride, backward) for part in parts]
            if pixels * span <= columns and max(_largest(window) for window in windows) < _LARGEST_WINDOW:
                rows = sum(_rows(parts, span, windows))
                cuts.append(_Cut(span, fold, channels / span * rows / pixels * (columns + gather)))
    return cuts


def _channels(part: _Part, span: int) -> int:
    """Channels of the source that a tile reads: those of one group, or of several where the span covers several."""
    return part.inputs * max(1, span // part.outputs)


def _rows(parts: Sequence[_Part], span: int, windows: Sequence[_Window]) -> list[int]:
    """Rows of each part in a tile; the last has the tile's padding."""
    rows = [
        -(-_channels(part, span) * math.prod(window.edges) // ROWS) * ROWS
        for part, window in zip(parts, windows, strict=True)
    ]
    rows[-1] += -sum(rows) % TILE_ROWS
    return rows


def _window(part: _Part, fold: Axes, stride: Axes, backward: bool) -> _Window:
    """What a block of the target sees of the source."""
    axes = []
    for k, d, r, s in zip(part.kernel, part.dilation, fold, stride, strict=True):
        apart = d if r == 1 else 1
        dilation = d // apart
        half = k // 2 * dilation
        before, after = (half // s, (r - 1 + half) // s) if backward else (half, (r - 1) * s + half)
        axes.append((before + after + 1, apart, dilation, before * apart))
    return _Window(*(three(values) for values in zip(*axes, strict=True)))


def _largest(window: _Window) -> int:
    """Pixels that it covers, along the axis where they are most."""
    return max((edge - 1) * apart + 1 for edge, apart in zip(window.edges, window.apart, strict=True))
