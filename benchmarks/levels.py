"""Time single levels in the compiled kernel, the library and the fold: the measurement behind the cost rules.

python -m nnunet_pyconv.benchmarks.levels [--rounds 9]
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Sequence

import torch

from nnunet_pyconv.benchmarks.timing import Ratio, ratios, time_in_turn
from nnunet_pyconv.nn.execution.direct import direct
from nnunet_pyconv.nn.execution.fold import folded
from nnunet_pyconv.nn.execution.level_by_level import convolve

SHAPES = [(2, 32, 256), (2, 64, 128), (2, 128, 64), (4, 256, 32), (4, 512, 16), (8, 512, 8)]
LEVELS = [(3, 1), (5, 4), (7, 8), (9, 16)]
PARTS = ("inference", "training")
BLOCKS = [(1, 2), (2, 2), (1, 4), (2, 4), (1, 8), (4, 4)]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print: the ratio of each way to the library's convolution."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--fold", action="store_true", help="the fold's blocks instead of the kernel")
    arguments = parser.parse_args(argv)
    names = [f"fold {rows}x{columns}" for rows, columns in BLOCKS] if arguments.fold else ["kernel"]
    heads = ["N x C x edge", "kernel / groups (in, out)", *(f"{n}, {part}" for n in names for part in PARTS)]
    print(f"| {' | '.join(heads)} |")
    print("|---" * len(heads) + "|")
    for shape, (k, wanted) in itertools.product(SHAPES, LEVELS):
        outputs = shape[1] // 4
        groups = min(wanted, outputs)
        measured = _measure(shape, k, groups, names, arguments.rounds)
        level = f"{k} / {groups} ({shape[1] // groups}, {outputs // groups})"
        cells = [f"{measured[part][name].ratio:.2f}" for name in names for part in PARTS]
        print(f"| {' x '.join(map(str, shape))} | {level} | {' | '.join(cells)} |", flush=True)


def _measure(
    shape: tuple[int, int, int], k: int, groups: int, names: Sequence[str], rounds: int
) -> dict[str, dict[str, Ratio]]:
    batch, channels, edge = shape
    x = torch.randn(batch, channels, edge, edge)
    w = torch.randn(channels // 4, channels // groups, k, k)

    def way(name: str, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        if name == "library":
            return convolve(x, w, None, (1, 1), groups)
        if name == "kernel":
            return direct(x, [w], [], [groups], [1, 1])
        return folded(x, w, None, (1, 1), groups, BLOCKS[names.index(name)])

    def train(name: str) -> None:
        y = way(name, x.detach().requires_grad_(), w.detach().requires_grad_())
        y.backward(torch.ones_like(y))

    steps = {"inference": lambda name: way(name, x, w), "training": train}
    result = {}
    for part, step in steps.items():
        calls = {name: functools.partial(step, name) for name in ("library", *names)}
        result[part] = ratios(time_in_turn(calls, rounds), ["library"])
    return result


if __name__ == "__main__":
    main()
