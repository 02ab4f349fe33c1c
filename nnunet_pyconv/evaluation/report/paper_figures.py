"""What the paper says of a dataset, and which of its numbers can't be."""

from __future__ import annotations

from nnunet_pyconv.evaluation.dataset import RawDataset
from nnunet_pyconv.evaluation.metrics import dice_bounds
from nnunet_pyconv.evaluation.scores import Neurites
from nnunet_pyconv.paper import DATASETS, NETWORKS, Overlap, PaperDataset

NETWORK_NAMES = {network.configuration: network.name for network in NETWORKS}
"""The paper's name of its network, by configuration."""

_ROUNDING = 0.00005  # the paper prints four decimals


def paper_dataset(dataset: RawDataset) -> PaperDataset | None:
    """Return the paper's dataset of the same name after `DatasetXXX_`; None if it isn't one of the paper's."""
    name = dataset.name.partition("_")[2].lower()
    return next((known for known in DATASETS if known.folder_name.lower() == name), None)


def comparable(dataset: RawDataset) -> bool:
    """Whether the foreground is the paper's: for ISBICell the cells, not the membranes."""
    known = paper_dataset(dataset)
    return known is not None and (not known.cells or list(dataset.classes) == [known.cells])


def printed_overlaps(known: PaperDataset) -> dict[str, Overlap]:
    """Return what the paper's Table 2 prints for a dataset, by configuration, in its order."""
    return {network.configuration: network.table_2[known.key] for network in NETWORKS if known.key in network.table_2}


def neurites(dataset: RawDataset, *, on_probabilities: bool) -> Neurites | None:
    """Return how V_rand and V_info find the cells of ISBI 2012, None for other datasets."""
    known = paper_dataset(dataset)
    if known is None or not known.cells:
        return None
    for name in (known.cells, known.membranes):
        label = dataset.classes.get(name)
        if isinstance(label, int):
            return Neurites(label, name == known.membranes, on_probabilities)
    return None


def impossible(printed: Overlap) -> str:
    """Say why a mean IoU and a mean Dice can't be of the same images, by arithmetic; empty if they can."""
    low, high = dice_bounds(printed.iou)
    if low - _ROUNDING <= printed.dice <= high + _ROUNDING:
        return ""
    return (
        "This pair can't be: on every image Dice = 2 IoU / (1 + IoU), which is at least IoU, so a mean Dice is at "
        "least the mean IoU and, since the function is concave, at most 2 m / (1 + m) of a mean IoU m. With a mean IoU "
        f"of {printed.iou:.4f} it lies between {low:.4f} and {high:.4f}; the paper prints {printed.dice:.4f}."
    )
