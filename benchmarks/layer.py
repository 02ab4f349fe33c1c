"""Time a PyConv layer in each execution against a dense 3 x 3 convolution of the same width.

python -m nnunet_pyconv.benchmarks.layer [--rounds 15] [--json FILE] [--executions auto direct fold]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from nnunet_pyconv.benchmarks.timing import Ratio, machine, ratios, time_in_turn
from nnunet_pyconv.nn import PyConv2d, PyConv3d
from nnunet_pyconv.nn.execution import available_executions, execution

DENSE = ("dense NCHW", "dense channels_last")


@dataclass(frozen=True)
class Case:
    """A layer and its input: batch, channels in and out, edge of the map in pixels, 2 or 3 axes, kernels."""

    batch: int
    channels: int
    edge: int
    dim: int = 2
    kernel_sizes: tuple[int, ...] = (3, 5, 7, 9)
    stride: int = 1

    def __str__(self) -> str:
        size = "x".join([str(self.edge)] * self.dim)
        return f"{self.batch} x {self.channels} x {size}" + (f", stride {self.stride}" if self.stride > 1 else "")


CASES = (Case(2, 32, 256), Case(2, 64, 128), Case(2, 128, 64), Case(4, 256, 32), Case(4, 512, 16))
MORE_CASES = (
    Case(2, 32, 256, stride=2),
    Case(2, 128, 64, stride=2),
    Case(1, 32, 64, dim=3, kernel_sizes=(3, 5, 7)),
)


@dataclass(frozen=True)
class Result:
    """The ratios of one case; `chosen` is the execution that "auto" took."""

    case: Case
    chosen: str
    inference: dict[str, Ratio]
    training: dict[str, Ratio]


def benchmark_layer(
    cases: Sequence[Case], executions: Sequence[str], rounds: int, bfloat16: bool = False
) -> list[Result]:
    """Measure inference and forward + backward of each case.

    Args:
        cases: What to measure.
        executions: Settings of `nnunet_pyconv.nn.execution.execution`.
        rounds: Calls of each function; the results are medians.
        bfloat16: Under autocast to bfloat16 instead of in float32.

    Returns:
        A result for each case.
    """
    return [_benchmark(case, executions, rounds, bfloat16) for case in cases]


def _benchmark(case: Case, executions: Sequence[str], rounds: int, bfloat16: bool) -> Result:
    conv, pyconv = (nn.Conv2d, PyConv2d) if case.dim == 2 else (nn.Conv3d, PyConv3d)
    channels_last = torch.channels_last if case.dim == 2 else torch.channels_last_3d
    x = torch.randn(case.batch, case.channels, *[case.edge] * case.dim)
    dense = conv(case.channels, case.channels, 3, padding=1, stride=case.stride, bias=False)
    layer = pyconv(case.channels, case.channels, case.kernel_sizes, stride=case.stride)

    def infer(setting: str, module: nn.Module, image: torch.Tensor) -> torch.Tensor:
        with execution(setting), torch.autocast("cpu", enabled=bfloat16):
            return module(image)

    def train(setting: str, module: nn.Module, image: torch.Tensor) -> None:
        y = infer(setting, module, image.detach().requires_grad_())
        y.backward(torch.ones_like(y))

    systems: dict[str, tuple[str, nn.Module, torch.Tensor]] = {
        DENSE[0]: ("auto", dense, x),
        DENSE[1]: (
            "auto",
            conv(case.channels, case.channels, 3, padding=1, stride=case.stride, bias=False).to(
                memory_format=channels_last
            ),
            x.contiguous(memory_format=channels_last),
        ),
        **{setting: (setting, layer, x) for setting in executions},
    }

    def calls(step: Callable[[str, nn.Module, torch.Tensor], object]) -> dict[str, Callable[[], object]]:
        return {name: lambda arguments=arguments: step(*arguments) for name, arguments in systems.items()}

    with torch.no_grad():
        inference = ratios(time_in_turn(calls(infer), rounds), list(DENSE))
    training = ratios(time_in_turn(calls(train), rounds), list(DENSE))
    return Result(case, layer.execution_for(x), inference, training)


def to_markdown(results: Sequence[Result]) -> str:
    """Print two tables: ratios to the dense convolution in its best memory format, median and quartiles."""
    names = [name for name in results[0].inference if name not in DENSE]
    text = []
    for title, part in (("Inference", "inference"), ("Forward + backward", "training")):
        text += [
            f"**{title}**, time / time of the dense convolution, median (quartiles)",
            "",
            f"| N x C x size | dense, ms | {' | '.join(names)} | auto is |",
            "|---" * (len(names) + 3) + "|",
        ]
        for result in results:
            measured: dict[str, Ratio] = getattr(result, part)
            dense_ms = min(measured[name].time_ms for name in DENSE)
            cells = [str(result.case), f"{dense_ms:.1f}", *(str(measured[name]) for name in names), result.chosen]
            text.append(f"| {' | '.join(cells)} |")
        text.append("")
    return "\n".join(text)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="calls of each function (default: %(default)s)")
    parser.add_argument("--executions", nargs="+", default=None, help="default: auto and all that this machine has")
    parser.add_argument("--more", action="store_true", help="stride 2 and three dimensions instead of the usual cases")
    parser.add_argument("--bfloat16", action="store_true", help="under autocast to bfloat16")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    arguments = parser.parse_args(argv)
    executions = arguments.executions or [
        "auto",
        *(name for name, reason in available_executions().items() if reason is None),
    ]
    description = machine()
    print("; ".join(f"{key}: {value}" for key, value in description.items()), end="\n\n")
    results = benchmark_layer(
        MORE_CASES if arguments.more else CASES, executions, arguments.rounds, bfloat16=arguments.bfloat16
    )
    print(to_markdown(results))
    if arguments.json:
        content = {"machine": description, "rounds": arguments.rounds, "results": [asdict(r) for r in results]}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
