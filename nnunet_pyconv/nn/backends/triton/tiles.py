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
import math
from dataclasses import dataclass

import torch

from nnunet_pyconv.nn.backends.triton.cuts import (
    Axes,
    DirectedLevel,
    Window,
    best_cut,
    channels_of,
    rows_of,
    step_of,
    three,
    window_of,
)
from nnunet_pyconv.nn.level import Level


@dataclass(frozen=True)
class Layout:
    """All tiles of a launch.

    Tiles of the same shape form a set: those of one level, or backward of all that convolve the same channels.

    Attributes:
        columns: Columns of the products.
        vector: Values of the source that are read at once: a power of two.
        pixels: Of how many neighbouring pixels along x they are: 1 where they are of as many channels, and the source
            is `(N, C / vector, Z, Y, X, vector)` in memory, or `vector` of one channel, and it is
            `(N, C, Z, Y, X / vector, vector)`.
        tile_sets: For each set the number of tiles, the rows of each, and the target pixels of its block.
        sets: `(sets, 16)`, int32: tiles, rows of each, first row, first target channel, first part, span, then along z,
            y and x: fold, step of the window from block to block, pixels of the window before the block (along x, both
            in vectors of the source); a zero.
        parts: `(parts, 16)`, int32, the levels in the rows of a set's tiles: end of its rows in the tile, rows, first
            weight in the concatenation of all, channels of a group in the source and in the target, then along z, y and
            x: kernel, places of the window (vectors along x), places from one element of the kernel to the next; then
            `pixels`, and the pixels of the window before the first that the kernel meets along x.
        window: int32, for each `vector` of rows what they take from the source: its place along the source's second
            axis, and in the window along z, y and x in six bits each; -1 for padding.
    """

    columns: int
    vector: int
    pixels: int
    tile_sets: tuple[tuple[int, int, Axes], ...]
    sets: torch.Tensor
    parts: torch.Tensor
    window: torch.Tensor

    @property
    def rows(self) -> int:
        """Rows of all tiles."""
        return self.window.numel() * self.vector


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
        ValueError: No tiles exist, see `cuts.supports`.
    """
    columns, at_once, along_x, part_sets, cuts = best_cut(levels, stride, backward)
    vector = min(at_once, most_at_once)
    pixels = vector if along_x else 1
    sets: list[list[int]] = []
    part_rows: list[list[int]] = []
    windows = []
    first_row = target = 0
    for parts, cut in zip(part_sets, cuts, strict=True):
        tiles, first_part = parts[0].groups * parts[0].outputs // cut.span, len(part_rows)
        shapes = [window_of(part, cut.fold, stride, backward, pixels) for part in parts]
        counts = rows_of(parts, cut.span, shapes, pixels)
        before = three([max(axis) for axis in zip(*(shape.before for shape in shapes), strict=True)])
        places = []
        for n, (part, shape, count) in enumerate(zip(parts, shapes, counts, strict=True), 1):
            part_rows.append([sum(counts[:n]), count, part.weight, part.inputs, part.outputs])
            part_rows[-1] += [*part.kernel, *shape.edges, *shape.dilation, pixels, shape.unused]
            places.append(_places(part, cut.span, tiles, count // vector, vector // pixels, shape, before))
        windows.append(torch.cat(places, dim=1).flatten())
        step = step_of(cut.fold, stride, backward)
        sets.append([tiles, sum(counts), first_row, target, first_part, cut.span, *cut.fold])
        sets[-1] += [*step[:2], step[2] // pixels, *before, 0]
        first_row += tiles * sum(counts)
        target += tiles * cut.span
    return Layout(
        columns,
        vector,
        pixels,
        tuple((s[0], s[1], cut.fold) for s, cut in zip(sets, cuts, strict=True)),
        torch.tensor(sets, dtype=torch.int32, device=device),
        torch.tensor(part_rows, dtype=torch.int32, device=device),
        torch.cat(windows).to(device=device, dtype=torch.int32),
    )


def _places(
    part: DirectedLevel, span: int, tiles: int, vectors: int, channels: int, window: Window, before: Axes
) -> torch.Tensor:
    """What the rows of a part take in each tile, `(tiles, vectors)`, see `Layout.window`.

    Args:
        part: The part.
        span: Target channels of a tile.
        tiles: How many tiles.
        vectors: Rows of the part in a tile, in vectors.
        channels: Of a vector.
        window: What it takes of the source.
        before: That of the window of all parts.
    """
    row = torch.arange(vectors)
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
    channel = (part.source + group * part.inputs) // channels + block
    taken = channel << 18 | (z << 12 | y << 6 | x)
    return taken.masked_fill(block >= channels_of(part, span) // channels, -1)
