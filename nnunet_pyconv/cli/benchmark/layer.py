"""`nnunet_pyconv benchmark layer`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_pyconv.cli.benchmark.common import add_common_arguments, run_benchmark
from nnunet_pyconv.cli.parser import positive
from nnunet_pyconv.names import BACKENDS

if TYPE_CHECKING:
    import torch

    from nnunet_pyconv.benchmarks.report import Measurements

SETTINGS = ("auto", *BACKENDS)
DTYPES = ("float32", "float16", "bfloat16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subject's arguments."""
    parser.description = (
        "Time a PyConv layer (kernels 3, 5, 7, 9) in each backend against a dense 3 x 3 convolution of the same "
        "width in its best memory format: inference, and forward + backward. About a minute on two cores."
    )
    add_common_arguments(parser, rounds=15)
    parser.add_argument(
        "--backends", nargs="+", choices=SETTINGS, help="default: auto and all that can run here", default=SETTINGS
    )
    parser.add_argument(
        "--dtypes",
        nargs="+",
        choices=DTYPES,
        help="half precision is measured under autocast (default: float32; on a GPU float16 and bfloat16)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--more", action="store_true", help="stride 2, three dimensions and narrow maps instead of the usual cases"
    )
    which.add_argument(
        "--cases", nargs="+", type=_case, metavar="NxCxEDGE", help="2D cases of your own, for example 2x32x256"
    )


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nnunet_pyconv.benchmarks import layer
    from nnunet_pyconv.nn.backends import available_backends

    own = [layer.LayerCase(*case) for case in args.cases or ()]
    cases = own or (layer.MORE_CASES if args.more else layer.CASES)

    def measure(device: torch.device) -> list[Measurements]:
        dtypes = args.dtypes or (["float16", "bfloat16"] if device.type == "cuda" else ["float32"])
        backends = [name for name in args.backends if available_backends().get(name) is None]
        return layer.benchmark_layer(cases, backends, args.rounds, device, dtypes)

    run_benchmark(args, measure)


def _case(text: str) -> tuple[int, int, int]:
    """Read batch, channels and edge of a map."""
    try:
        batch, channels, edge = map(positive, text.split("x"))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"{text!r} is not NxCxEDGE, three positive numbers such as 2x32x256") from None
    return batch, channels, edge
