"""Into which tiles, see `tiles.py`, a layer is cut: channels, fold and vectors, by an estimate of what they cost."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_pyconv.nn.level import Level

Axes = tuple[int, int, int]

ROWS = 16
"""The rows of each level in a tile are padded to a multiple of this."""
TILE_ROWS = 64
"""The rows of a tile are padded to a multiple of this."""
LONGEST_VECTOR = 8
"""The most values of the source that are read at once."""
_COLUMNS = (16, 32, 64)
_VECTORS = (LONGEST_VECTOR, 4, 2, 1)
_GATHER = 32
"""What it costs to bring a value of the source to the tensor core, in multiplications: with 32 columns, shared memory,
address arithmetic and tensor cores are about equally busy. Of 4 to 64, none was faster throughout on an H200."""
_MOST_CHANNELS = 1 << 13
_LARGEST_WINDOW = 1 << 6


@dataclass(frozen=True)
class DirectedLevel:
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
class Window:
    """The places in the source that a block of the target sees, along each axis.

    Attributes:
        edges: How many; along x, vectors of the source.
        apart: Pixels from one to the next; along x, vectors.
        dilation: How many pixels, of these places, from one element of the kernel to the next.
        before: Pixels from the first of them to the block's own first pixel; along x, vectors.
        unused: Pixels before the first that the kernel meets, along x, so that a vector begins.
    """

    edges: Axes
    apart: Axes
    dilation: Axes
    before: Axes
    unused: int


@dataclass(frozen=True)
class Cut:
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
def best_cut(
    levels: tuple[Level, ...], stride: Axes, backward: bool
) -> tuple[int, int, bool, list[list[DirectedLevel]], list[Cut]]:
    """Choose by the estimated cost how to cut a layer.

    Returns:
        Columns, values to read at once, whether those are of neighbouring pixels, the sets of parts and their cuts.

    Raises:
        ValueError: There is no way, see `supports`.
    """
    part_sets = _part_sets(levels, backward)
    choices = []
    for columns, at_once, along_x in itertools.product(_COLUMNS, _VECTORS, (False, True)):
        cuts = [_cuts(parts, stride, backward, columns, at_once, along_x) for parts in part_sets]
        if all(cuts):
            best = [min(some, key=lambda cut: (cut.cost, max(cut.fold))) for some in cuts]  # compact, for small maps
            choices.append((sum(cut.cost for cut in best), columns, at_once, along_x, best))
    if not choices:
        raise ValueError(f"no tiles for stride {stride} and {levels}")
    _, columns, at_once, along_x, best = min(choices, key=lambda choice: choice[0])
    return columns, at_once, along_x, part_sets, best


def _part_sets(levels: Sequence[Level], backward: bool) -> list[list[DirectedLevel]]:
    parts, outputs, weights = [], 0, 0
    for z in levels:
        kernel, dilation = three(z.kernel_size), three(z.dilation)
        if backward:
            parts.append(DirectedLevel(z.groups, z.outputs, z.inputs, kernel, dilation, outputs, weights))
        else:
            parts.append(DirectedLevel(z.groups, z.inputs, z.outputs, kernel, dilation, z.first_in_channel, weights))
        outputs += z.out_channels
        weights += z.out_channels * z.inputs * math.prod(kernel)
    together = backward and all(z.first_in_channel == 0 for z in levels)
    return [parts] if together else [[part] for part in parts]


def _cuts(
    parts: Sequence[DirectedLevel], stride: Axes, backward: bool, columns: int, at_once: int, along_x: bool
) -> list[Cut]:
    """All ways to cut the targets of some parts for so many columns and values to read at once."""
    values, pixels = (1, at_once) if along_x else (at_once, 1)
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
        if any(n % values for part in parts for n in (channels_of(part, span), part.source)):
            continue
        for fold in folds:
            block = math.prod(fold)
            if block * span > columns or step_of(fold, stride, backward)[2] % pixels:
                continue
            windows = [window_of(part, fold, stride, backward, pixels) for part in parts]
            if max(_largest(window) for window in windows) < _LARGEST_WINDOW:
                rows = sum(rows_of(parts, span, windows, pixels))
                cuts.append(Cut(span, fold, channels / span * rows / block * (columns + gather)))
    return cuts


def channels_of(part: DirectedLevel, span: int) -> int:
    """Channels of the source that a tile reads: those of one group, or of several where the span covers several."""
    return part.inputs * max(1, span // part.outputs)


def rows_of(parts: Sequence[DirectedLevel], span: int, windows: Sequence[Window], pixels: int) -> list[int]:
    """Rows of each part in a tile; the last has the tile's padding."""
    rows = [
        -(-channels_of(part, span) * math.prod(window.edges) * pixels // ROWS) * ROWS
        for part, window in zip(parts, windows, strict=True)
    ]
    rows[-1] += -sum(rows) % TILE_ROWS
    return rows


def step_of(fold: Axes, stride: Axes, backward: bool) -> Axes:
    """Pixels of the source from block to block."""
    return three([r // s if backward else r * s for r, s in zip(fold, stride, strict=True)])


def window_of(part: DirectedLevel, fold: Axes, stride: Axes, backward: bool, pixels: int) -> Window:
    """What a block of the target sees of the source, in vectors of so many pixels along x."""
    axes, unused = [], 0
    for k, d, r, s, p in zip(part.kernel, part.dilation, fold, stride, (1, 1, pixels), strict=True):
        apart = d if r == p == 1 else 1
        dilation = d // apart
        half = k // 2 * dilation
        before, after = (half // s, (r - 1 + half) // s) if backward else (half, (r - 1) * s + half)
        unused = -before % p
        axes.append((-(-before // p) + after // p + 1, apart, dilation, -(-before // p) * apart))
    edges, apart_, dilation_, before_ = (three(values) for values in zip(*axes, strict=True))
    return Window(edges, apart_, dilation_, before_, unused)


def _largest(window: Window) -> int:
    """Pixels (vectors along x) that it covers, along the axis where they are most."""
    return max((edge - 1) * apart + 1 for edge, apart in zip(window.edges, window.apart, strict=True))
