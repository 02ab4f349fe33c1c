"""Draw docs/figures/pyramid.svg: the levels of a pyramidal convolution, from the layer's own rules.

python docs/figures/pyramid.py
"""

from __future__ import annotations

from pathlib import Path

from nnunet_pyconv import Pyramid

FILE = Path(__file__).with_suffix(".svg")
CHANNELS = 64
COLOURS = ("#0072B2", "#009E73", "#E69F00", "#CC79A7")  # Okabe and Ito: safe for colour-blind readers
WIDTH, ROW, TOP = 760, 110, 70
KERNEL_X, GROUPS_X, OUTPUT_X, TEXT_X = 70, 250, 440, 520
BAR = 76  # height of the bar that stands for all channels
CELL = 8


def draw() -> str:
    """Return the figure as SVG: a row for each level with its kernel, its groups and its share of the output."""
    levels = Pyramid().levels(CHANNELS, CHANNELS, dim=2)
    height = TOP + ROW * len(levels) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *(
            _text(x, 30, title, bold=True)
            for x, title in (
                (KERNEL_X, "kernel"),
                (GROUPS_X, f"{CHANNELS} inputs in groups"),
                (OUTPUT_X, "outputs"),
                (TEXT_X + 60, "products an output"),
            )
        ),
    ]
    total = 0.0
    for z, (level, colour) in enumerate(zip(levels, COLOURS, strict=True)):
        middle = TOP + ROW * z + ROW // 2 - 10
        edge = level.kernel_size[0]
        products = edge**2 * CHANNELS // level.groups
        total += products * level.out_channels / CHANNELS
        parts += [
            *_kernel(middle, edge, colour),
            _text(GROUPS_X - 12, middle + 4, f"{edge} x {edge}", anchor="end"),
            *_groups(middle, level.groups, colour),
            _text(GROUPS_X + 34, middle + 4, f"{level.groups} group{'s' * (level.groups > 1)}"),
            _arrow(GROUPS_X + 110, OUTPUT_X - 10, middle),
            _share(middle, level.out_channels, colour),
            _text(OUTPUT_X + 34, middle + 4, str(level.out_channels)),
            _text(TEXT_X + 60, middle + 4, f"{edge}² x {CHANNELS // level.groups} = {products}"),
        ]
    dense = 9 * CHANNELS
    parts += [
        _text(
            KERNEL_X,
            height - 16,
            f"all levels: {total:g} products an output on average; "
            f"a dense 3 x 3 convolution: {dense}, so {total / dense:.2f} x",
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _kernel(middle: int, edge: int, colour: str) -> list[str]:
    x, y = KERNEL_X + 40 - edge * CELL / 2, middle - edge * CELL / 2
    return [
        f'<rect x="{x + CELL * column:g}" y="{y + CELL * row:g}" width="{CELL - 1}" height="{CELL - 1}" '
        f'fill="{colour}" fill-opacity="{0.9 if row == column == edge // 2 else 0.45}"/>'
        for row in range(edge)
        for column in range(edge)
    ]


def _groups(middle: int, groups: int, colour: str) -> list[str]:
    height = BAR / groups
    return [
        f'<rect x="{GROUPS_X}" y="{middle - BAR / 2 + height * group:g}" width="24" height="{height - 1:g}" '
        f'fill="{colour}" fill-opacity="0.6"/>'
        for group in range(groups)
    ]


def _share(middle: int, out_channels: int, colour: str) -> str:
    height = BAR * out_channels / CHANNELS
    return (
        f'<rect x="{OUTPUT_X}" y="{middle - height / 2:g}" width="24" height="{height:g}" fill="{colour}" '
        'fill-opacity="0.9"/>'
    )


def _arrow(start: int, end: int, y: int) -> str:
    return f'<path d="M{start} {y} H{end} m-6 -4 l6 4 l-6 4" fill="none" stroke="#555"/>'


def _text(x: int, y: int, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{weight}>{text}</text>'


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
