"""`nnunet_pyconv convert DATASET`: run a converter of dataset_conversion."""

from __future__ import annotations

import argparse

from nnunet_pyconv.cli.parser import add_commands

DATASETS = {
    "isbi_cell": "ISBI 2012 EM segmentation challenge: cell interiors or membranes, 30 slices",
    "kaggle_lung": "Finding and Measuring Lungs in CT Data (Kaggle): lungs in Hounsfield units, 267 slices",
    "liver": "slices of LiTS, windowed: the liver, 400 + 20 slices",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a parser for each dataset."""
    parser.description = "Convert a dataset to nnU-Net's raw format, below nnUNet_raw."
    parser.epilog = "nnunet_pyconv convert DATASET -h tells more."
    add_commands(parser, "datasets", DATASETS, "nnunet_pyconv.dataset_conversion")
