"""How the Triton kernels cut a layer into matrix products.

A group with one or two output channels is, pixel by pixel, a matrix product with one or two columns, which a tensor
core can't use. So a *tile* computes in the columns of one product, besides a span of consecutive channels, a block of
neighbouring pixels (the fold):

    columns: (channel, z, y, x) of the block;    rows: (channel, z, y, x) of the window that the whole block sees.

The weights are arranged so that each column has its kernel at its place in the window, and zeros elsewhere. The
gradient of the input is such a product on the gradient of the output: there, a tile's rows are those of all levels, and
with a stride the block is a multiple of it, so that each phase has columns of its own. "Source" and "target" are the
input and the output forward, and their gradients the other way round backward.
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

ROWS = 64
"""The rows of each level in a tile are padded to a multiple of this."""
_COLUMNS = (16, 32, 64)
_GATHER = 32
"""What it costs to bring a value of the source to the tensor core, in multiplications. Reasoned, not measured: with 32
columns, shared memory, address arithmetic and tensor cores of an A100 are about equally busy."""
_MOST_CHANNELS = 1 << 13
_LARGEST_WINDOW = 1 << 6


@dataclass(frozen=True)
class Layout:
    """All tiles of a launch. Tiles of the same shape form a set: forward those of one level, backward all.

    Attributes:
        columns: Columns of the products.
        vector: Channels that are read at once; the source is `(N, C / vector, Z, Y, X, vector)` in memory.
        tile_sets: For each set the number of tiles, the rows of each, and the target pixels of its block.
        sets: `(sets, 16)`, int32: tiles, rows of each, first row, first target channel, first part, span, then along z,
            y and x: fold, step of the window from block to block, pixels of the window before the block; a zero.
        parts: `(parts, 12)`, int32, the levels in the rows of a set's tiles: end of its rows in the tile, rows, first
            weight in the concatenation of all, channels of a group in the source and in the target, then along z, y and
            x: kernel, window; a zero.
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
    """A level in one direction: groups, channels of a group in source and target, kernel, first channel and weight."""

    groups: int
    inputs: int
    outputs: int
    kernel: Axes
    source: int
    weight: int


@dataclass(frozen=True)
class _Cut:
    """The target channels and pixels of a tile, and what a target pixel costs then."""

    span: int
    fold: Axes
    cost: float


def supports(levels: Sequence[Level], stride: Sequence[int]) -> bool:
    """Tell whether such tiles exist: the bits of `Layout.window` and the largest number of columns must be enough."""
    channels = max(levels[0].inputs * levels[0].groups, sum(level.outputs * level.groups for level in levels))
    edge = max(max(level.kernel_size) for level in levels)
    return channels < _MOST_CHANNELS and edge + 1 < _LARGEST_WINDOW and math.prod(stride) <= _COLUMNS[-1]


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
    columns, part_sets, cuts = _best_cut(levels, stride, backward)
    vector = math.gcd(most_at_once, *(_at_once(parts, cut.span) for parts, cut in zip(part_sets, cuts, strict=True)))
    sets: list[list[int]] = []
    part_rows: list[list[int]] = []
    windows = []
    first_row = target = 0
    for parts, cut in zip(part_sets, cuts, strict=True):
        tiles, first_part = parts[0].groups * parts[0].outputs // cut.span, len(part_rows)
        before = _most([_before(part, stride, backward) for part in parts])
        rows, places = 0, []
        for part in parts:
            edges = _window(part, cut.fold, stride, backward)
            count = _rows(part, cut.span, edges)
            rows += count
            part_rows.append([rows, count, part.weight, part.inputs, part.outputs, *part.kernel, *edges, 0])
            shift = [b - own for b, own in zip(before, _before(part, stride, backward), strict=True)]
            places.append(_places(part, cut.span, tiles, count, edges, shift, vector))
        windows.append(torch.cat(places, dim=1).flatten())
        step = [r // s if backward else r * s for r, s in zip(cut.fold, stride, strict=True)]
        sets.append([tiles, rows, first_row, target, first_part, cut.span, *cut.fold, *step, *before, 0])
        first_row += tiles * rows
        target += tiles * cut.span
    return Layout(
        columns,
        vector,
        tuple((s[0], s[1], cut.fold) for s, cut in zip(sets, cuts, strict=True)),
        torch.tensor(sets, dtype=torch.int32, device=device),
        torch.tensor(part_rows, dtype=torch.int32, device=device),
        torch.cat(windows).to(device=device, dtype=torch.int32),
    )


def _places(
    part: _Part, span: int, tiles: int, rows: int, edges: Axes, shift: Sequence[int], vector: int
) -> torch.Tensor:
    """What the rows of a part take in each tile, `(tiles, rows / vector)`, see `Layout.window`."""
    row = torch.arange(rows // vector)
    (_, edge_y, edge_x), size = edges, math.prod(edges)
    block, place = row // size, row % size
    z, y, x = place // (edge_y * edge_x) + shift[0], place // edge_x % edge_y + shift[1], place % edge_x + shift[2]
    group = torch.arange(tiles)[:, None] * span // part.outputs
    channel = (part.source + group * part.inputs) // vector + block
    taken = channel << 18 | (z << 12 | y << 6 | x)
    return taken.masked_fill(block >= _channels(part, span) // vector, -1)


@functools.lru_cache(maxsize=256)
def _best_cut(levels: tuple[Level, ...], stride: Axes, backward: bool) -> tuple[int, list[list[_Part]], list[_Cut]]:
    """Choose columns, and how each set of parts is cut for them, by the estimated cost."""
    part_sets = _part_sets(levels, backward)
    choices = []
    for columns in _COLUMNS:
        cuts = [_cuts(parts, stride, backward, columns) for parts in part_sets]
        if all(cuts):
            best = [min(some, key=lambda cut: cut.cost) for some in cuts]
            choices.append((sum(cut.cost for cut in best), columns, best))
    if not choices:
        raise ValueError(f"no tiles for stride {stride} and {levels}")
    _, columns, best = min(choices, key=lambda choice: choice[0])
    return columns, part_sets, best


def _part_sets(levels: Sequence[Level], backward: bool) -> list[list[_Part]]:
    parts, channels, weights = [], 0, 0
    for z in levels:
        kernel = three(z.kernel_size)
        if backward:
            parts.append(_Part(z.groups, z.outputs, z.inputs, kernel, channels, weights))
        else:
            parts.append(_Part(z.groups, z.inputs, z.outputs, kernel, 0, weights))
        channels += z.groups * z.outputs
        weights += z.groups * z.outputs * z.inputs * math.prod(kernel)
    return [parts] if backward else [[part] for part in parts]


def _cuts(parts: Sequence[_Part], stride: Axes, backward: bool, columns: int) -> list[_Cut]:
    """All ways to cut the targets of some parts for so many columns."""
    cuts = []
    channels = parts[0].groups * parts[0].outputs
    least = stride if backward else (1, 1, 1)
    grows = [any(part.kernel[axis] > 1 for part in parts) for axis in range(3)]
    folds = list(
        itertools.product(*([s * 2**n for n in range(6 if grow else 1)] for s, grow in zip(least, grows, strict=True)))
    )
    for span in range(1, min(channels, columns) + 1):
        if channels % span or any(span % part.outputs and part.outputs % span for part in parts):
            continue
        gather = _GATHER * max(1, 4 // _at_once(parts, span))  # as many instructions for one value as for four
        for fold in folds:
            pixels = math.prod(fold)
            edges = [_window(part, fold, stride, backward) for part in parts]
            if pixels * span <= columns and max(map(max, edges)) < _LARGEST_WINDOW:
                rows = sum(_rows(part, span, e) for part, e in zip(parts, edges, strict=True))
                cuts.append(_Cut(span, fold, channels / span * rows / pixels * (columns + gather)))
    return cuts


def _channels(part: _Part, span: int) -> int:
    """Channels of the source that a tile reads: those of one group, or of several where the span covers several."""
    return part.inputs * max(1, span // part.outputs)


def _at_once(parts: Sequence[_Part], span: int) -> int:
    """Channels, at most 8, by which a tile's channels of the source can be read."""
    return math.gcd(8, *(n for part in parts for n in (_channels(part, span), part.source)))


def _rows(part: _Part, span: int, edges: Axes) -> int:
    return -(-_channels(part, span) * math.prod(edges) // ROWS) * ROWS


def _window(part: _Part, fold: Axes, stride: Axes, backward: bool) -> Axes:
    """Pixels of the source that a block of the target sees."""
    if backward:
        z, y, x = ((r - 1 + k // 2) // s + k // 2 // s + 1 for r, s, k in zip(fold, stride, part.kernel, strict=True))
    else:
        z, y, x = ((r - 1) * s + k for r, s, k in zip(fold, stride, part.kernel, strict=True))
    return z, y, x


def _before(part: _Part, stride: Axes, backward: bool) -> Axes:
    """How many of them lie before the block's own first pixel."""
    z, y, x = (k // 2 // s if backward else k // 2 for s, k in zip(stride, part.kernel, strict=True))
    return z, y, x


def _most(values: Sequence[Axes]) -> Axes:
    z, y, x = (max(axis) for axis in zip(*values, strict=True))
    return z, y, x
