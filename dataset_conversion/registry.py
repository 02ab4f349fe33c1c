"""The datasets that can be converted by name: a converter is a module with a description and `find_cases`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from nnunet_pyconv.dataset_conversion import isbi_cell, kaggle_lung, liver
from nnunet_pyconv.dataset_conversion.cases import FoundCases
from nnunet_pyconv.dataset_conversion.description import DatasetDescription


class Converter(Protocol):
    """What a module in this package has to have; its docstring is the help text of `convert NAME`."""

    DESCRIPTION: DatasetDescription

    @staticmethod
    def find_cases(source: Path) -> FoundCases:
        """Find the cases in a folder.

        Args:
            source: What the user gave: the data as they are downloaded.

        Raises:
            InputError: The data are not there, or not whole.
        """


CONVERTERS: dict[str, Converter] = {
    "isbi_cell": isbi_cell,
    "kaggle_lung": kaggle_lung,
    "liver": liver,
}
