"""Time single levels in the compiled kernel, the library and the fold: the measurement behind the cost rules.

python -m nnunet_pyconv.benchmarks.levels [--rounds 9]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from unittest import mock

import torch

from nnunet_pyconv.benchmarks.timing import ratios, time_in_turn
from nnunet_pyconv.nn.execution.direct import direct
from nnunet_pyconv.nn.execution.fold import folded
from nnunet_pyconv.nn.execution.level_by_level import convolve

SHAPES = [(2, 32, 256), (2, 64, 128), (2, 128, 64), (4, 256, 32), (4, 512, 16), (8, 512, 8)]
LEVELS = [(3, 1), (5, 4), (7, 8), (9, 16)]
BLOCKS = [(1, 2), (2, 2), (1, 4), (2, 4), (1, 8), (4, 4)]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print: the ratio of each way to the library's convolution."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--fold", action="store_true", help="the fold's blocks instead of the kernel")
    arguments = parser.parse_args(argv)
    names = [f"fold {rows}x{columns}" for rows, columns in BLOCKS] if arguments.fold else ["kernel"]
    print(
        f"| N x C x edge | kernel / groups (in, out) | {' | '.join(f'{n}, {p}' for n in names for p in ('inference', 'training'))} |"
    )
    print("|---" * (2 + 2 * len(names)) + "|")
    for (batch, channels, edge), (k, wanted) in itertools.product(SHAPES, LEVELS):
        outputs = channels // 4
        groups = min(wanted, outputs)
        x = torch.randn(batch, channels, edge, edge)
        w = torch.randn(outputs, channels // groups, k, k)

        ways = {"library": lambda x, w, g: convolve(x, w, None, (1, 1), g)}
        if arguments.fold:
            for name, block in zip(names, BLOCKS, strict=True):
                ways[name] = lambda x, w, g, block=block: folded(x, w, None, (1, 1), g, block)
        else:
            ways["kernel"] = lambda x, w, g: direct(x, [w], [], [g], [1, 1])

        def train(way, x=x, w=w, groups=groups):
            image, weight = x.detach().requires_grad_(), w.detach().requires_grad_()
            y = way(image, weight, groups)
            y.backward(torch.ones_like(y))

        with mock.patch("nnunet_pyconv.nn.execution.direct.library_is_faster", lambda *_: False):
            calls = {name: lambda way=way: way(x, w, groups) for name, way in ways.items()}
            inference = ratios(time_in_turn(calls, arguments.rounds), ["library"])
            calls = {name: lambda way=way: train(way) for name, way in ways.items()}
            training = ratios(time_in_turn(calls, arguments.rounds), ["library"])
        cells = " | ".join(f"{part[n].ratio:.2f}" for n in names for part in (inference, training))
        print(
            f"| {batch} x {channels} x {edge} | {k} / {groups} ({channels // groups}, {outputs // groups}) | {cells} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
