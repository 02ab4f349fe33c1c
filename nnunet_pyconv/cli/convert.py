"""`nnunet_pyconv convert DATASET`: run a converter of dataset_conversion."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

DATASETS = {
    "isbi_cell": "ISBI 2012 EM segmentation challenge: cell interiors or membranes, 30 slices",
    "kaggle_lung": "Finding and Measuring Lungs in CT Data (Kaggle): lungs in Hounsfield units, 267 slices",
    "liver": "slices of LiTS, windowed: the liver, 400 + 20 slices",
}


def main(argv: Sequence[str], prog: str) -> None:
    """Run the converter of a dataset."""
    datasets = "\n".join(f"  {name:<12} {text}" for name, text in DATASETS.items())
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Convert a dataset to nnU-Net's raw format, below nnUNet_raw.",
        epilog=f"datasets:\n{datasets}\n\n{prog} DATASET -h tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", choices=DATASETS, metavar="DATASET", help="one of the datasets below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    args = parser.parse_args(argv)
    converter = importlib.import_module(f"nnunet_pyconv.dataset_conversion.{args.dataset}")
    converter.main(args.arguments, prog=f"{prog} {args.dataset}")
