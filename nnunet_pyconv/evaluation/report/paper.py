"""The paper's Table 2, and which of its numbers can't be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from nnunet_pyconv.evaluation.dataset import Dataset
from nnunet_pyconv.evaluation.metrics import dice_bounds
from nnunet_pyconv.evaluation.scores import Neurites

_PAPER: dict[str, Any] = json.loads(files(__package__).joinpath("paper_table_2.json").read_text("utf-8"))

SOURCE: str = _PAPER["source"]
NETWORKS: dict[str, str] = _PAPER["configurations"]
"""Configuration to the paper's name of its network; its Table 2 has all but MultiResUNet."""

_ROUNDING = 0.00005  # the paper prints four decimals


@dataclass(frozen=True)
class PaperDataset:
    """What the paper says of a dataset.

    Attributes:
        name: The paper's name.
        scores: `iou` (its MIoU) and `dice` by network.
        note: What to bear in mind with this dataset; empty if nothing.
    """

    name: str
    scores: dict[str, dict[str, float]]
    note: str


def paper_dataset(dataset: Dataset) -> PaperDataset | None:
    """Return what the paper says of a dataset, by the name after `DatasetXXX_`; None if it isn't the paper's."""
    entry = _entry(dataset)
    return None if entry is None else PaperDataset(entry["name"], entry["scores"], entry.get("note", ""))


def comparable(dataset: Dataset) -> bool:
    """Whether the foreground is the paper's: for ISBICell the cells, not the membranes."""
    entry = _entry(dataset)
    return entry is not None and ("cell" not in entry or list(dataset.classes) == [entry["cell"]])


def neurites(dataset: Dataset, *, on_probabilities: bool) -> Neurites | None:
    """Return how V_rand and V_info find the cells of ISBI 2012, None for other datasets."""
    entry = _entry(dataset) or {}
    for kind in ("cell", "membrane"):
        label = dataset.classes.get(entry.get(kind, ""))
        if isinstance(label, int):
            return Neurites(label, kind == "membrane", on_probabilities)
    return None


def impossible(scores: dict[str, float]) -> str:
    """Say why a row of IoU and Dice can't be, by arithmetic; empty if it can.

    Args:
        scores: `iou` and `dice`, means over the same images.
    """
    low, high = dice_bounds(scores["iou"])
    if low - _ROUNDING <= scores["dice"] <= high + _ROUNDING:
        return ""
    return (
        "This pair can't be: on every image Dice = 2 IoU / (1 + IoU), which is at least IoU, so a mean Dice is at "
        "least the mean IoU and, since the function is concave, at most 2 m / (1 + m) of a mean IoU m. With a mean IoU "
        f"of {scores['iou']:.4f} it lies between {low:.4f} and {high:.4f}; the paper prints {scores['dice']:.4f}."
    )


def _entry(dataset: Dataset) -> dict[str, Any] | None:
    name = dataset.name.partition("_")[2].lower()
    return next((entry for key, entry in _PAPER["datasets"].items() if key.lower() == name), None)
