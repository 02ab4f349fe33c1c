"""`nnunet_pyconv benchmark SUBJECT`: run a measurement of benchmarks."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

SUBJECTS = {
    "layer": "a PyConv layer in each backend against a dense 3 x 3 convolution",
    "network": "a training step and a prediction of nnU-Net's planned network, memory included",
    "predict": "nnU-Net's predictor on an image: sliding window, mirroring",
    "scaling": "a layer's time against pixels, channels, batch and threads, with a plot",
    "levels": "single levels in each backend: what the cost rules are fitted to (CPU)",
    "conversion": "the converters of datasets against reading and writing the same files",
    "volumes": "stock and PyConv trainings of nnU-Net on small volumes: speed, memory and Dice",
}


def main(argv: Sequence[str], prog: str) -> None:
    """Run the measurement of a subject."""
    subjects = "\n".join(f"  {name:<12} {text}" for name, text in SUBJECTS.items())
    parser = argparse.ArgumentParser(
        prog=prog,
        description=(
            "Measure on this machine how fast PyConv is: ratios of times that were measured in turn in one process, "
            "median and quartiles, with machine, versions and chosen backend. Nothing else should run meanwhile."
        ),
        epilog=f"subjects:\n{subjects}\n\n{prog} SUBJECT -h tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("subject", choices=SUBJECTS, metavar="SUBJECT", help="one of the subjects below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    args = parser.parse_args(argv)
    subject = importlib.import_module(f"nnunet_pyconv.benchmarks.{args.subject}")
    subject.main(args.arguments, prog=f"{prog} {args.subject}")
