"""The datasets that can be converted by name: a converter is a module with a description and `find_cases`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from nnunet_pyconv.dataset_conversion.cases import FoundCases
    from nnunet_pyconv.dataset_conversion.description import DatasetDescription

# module of this package: what `convert -h` says of it, without importing it
CONVERTERS = {
    "isbi_cell": "ISBI 2012 EM segmentation challenge: cell interiors or membranes, 30 slices",
    "kaggle_lung": "Finding and Measuring Lungs in CT Data (Kaggle): lungs in Hounsfield units, 267 slices",
    "liver": "slices of LiTS, windowed: the liver, 400 + 20 slices",
}


class Converter(Protocol):
    """What such a module has; its docstring is the help text of `convert NAME`."""

    DESCRIPTION: DatasetDescription

    @staticmethod
    def find_cases(source: Path) -> FoundCases:
        """Find the cases in a folder.

        Args:
            source: What the user gave: the data as they are downloaded.

        Raises:
            InputError: The data are not there, or not whole.
        """


def load_converter(name: str) -> Converter:
    """Import a converter by its key in `CONVERTERS`."""
    return cast("Converter", importlib.import_module(f"nnunet_pyconv.dataset_conversion.{name}"))
