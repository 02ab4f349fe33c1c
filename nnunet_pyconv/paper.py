"""The paper's experiment as data: its networks, its datasets, and what its Tables 2 and 3 print.

Everything that speaks of the paper takes it from here: plans, reproduction, complexity table and report. To add a
network, write its class in `nnunet_pyconv/architectures/` and add one line to `NETWORKS`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CITATION = "Li C, Fan Y, Cai X. PyConvU-Net. BMC Bioinformatics 22, 14 (2021), doi:10.1186/s12859-020-03943-2"
TRAINER = "nnUNetTrainerPyConvPaper"
TRAINER_BF16 = "nnUNetTrainerPyConvPaperBF16"
BATCH_SIZE = 5
EPOCHS = 50
INPUT_SHAPE = (3, 512, 512)
"""Of Table 3, `(C, Y, X)`; the networks there have one class."""


@dataclass(frozen=True)
class Overlap:
    """One entry of Table 2, means over the test images.

    Attributes:
        iou: What the paper prints as MIoU; by its code it is the foreground IoU.
        dice: Its Dice.
    """

    iou: float
    dice: float


@dataclass(frozen=True)
class Cost:
    """One row of Table 3.

    Attributes:
        parameters_m: Millions of parameters.
        gmac: Billions of multiply-accumulates, which the paper calls FLOPs.
    """

    parameters_m: float
    gmac: float


@dataclass(frozen=True)
class PaperDataset:
    """One of the paper's datasets.

    Attributes:
        key: What `nnunet_pyconv convert` calls it.
        folder_name: The name after `DatasetXXX_`.
        name: The paper's name.
        cells: The class that is the paper's foreground, where the converter offers another one too.
        membranes: That other class.
        note: What to bear in mind with its scores; empty if nothing.
    """

    key: str
    folder_name: str
    name: str
    cells: str = ""
    membranes: str = ""
    note: str = ""


@dataclass(frozen=True)
class PaperNetwork:
    """One of the paper's networks.

    Attributes:
        key: What `nnunet_pyconv reproduce --networks` calls it.
        name: The paper's name.
        class_name: The class, as plans name it.
        table_2: What the paper's Table 2 prints, by the key of the dataset; empty where it has no such row.
        table_3: What its Table 3 prints; None where it has no such row.
        counts_heads: Whether the paper trains and counts several heads (deep supervision).
        note: A footnote for Table 3; empty for none.
    """

    key: str
    name: str
    class_name: str
    table_2: Mapping[str, Overlap] = field(default_factory=dict)
    table_3: Cost | None = None
    counts_heads: bool = False
    note: str = ""

    @property
    def configuration(self) -> str:
        """Its configuration in the paper's plans."""
        return f"2d_{self.key}"

    @property
    def network_class(self) -> Any:
        """The class; importing it takes torch."""
        module, _, name = self.class_name.rpartition(".")
        return getattr(importlib.import_module(module), name)


DATASETS = (
    PaperDataset("isbi_cell", "ISBICell", "ISBICell", cells="cell", membranes="membrane"),
    PaperDataset("kaggle_lung", "KaggleLung", "kaggleLung"),
    PaperDataset(
        "liver",
        "Liver",
        "liver",
        note="The images of this dataset come from volumes whose patients can't be told apart: neighbouring slices of "
        "one patient may be in training and validation at once, so these scores may be too good.",
    ),
)


def _table_2(kaggle_lung: Overlap, liver: Overlap, isbi_cell: Overlap) -> dict[str, Overlap]:
    return {"kaggle_lung": kaggle_lung, "liver": liver, "isbi_cell": isbi_cell}


# fmt: off
# In the order of the paper's tables. The other configurations of the plans inherit from the first one.
NETWORKS = (
    PaperNetwork("unet", "U-Net", "nnunet_pyconv.architectures.UNet",
        _table_2(Overlap(0.7279, 0.7834), Overlap(0.6207, 0.7386), Overlap(0.7742, 0.8639)), Cost(7.77, 48.57)),
    PaperNetwork("unet_plus_plus", "UNet++", "nnunet_pyconv.architectures.UNetPlusPlus",
        _table_2(Overlap(0.6078, 0.6471), Overlap(0.6504, 0.7690), Overlap(0.7878, 0.8808)), Cost(9.16, 138.63),
        counts_heads=True, note="With its four heads, as the paper counts."),
    PaperNetwork("resnet34_unet", "ResNet34_UNet", "nnunet_pyconv.architectures.ResNet34UNet",
        _table_2(Overlap(0.9494, 0.9721), Overlap(0.6623, 0.7451), Overlap(0.8398, 0.9115)), Cost(21.66, 24.27)),
    PaperNetwork("attention_unet", "Attention U-Net", "nnunet_pyconv.architectures.AttentionUNet",
        _table_2(Overlap(0.7723, 0.8278), Overlap(0.6989, 0.8083), Overlap(0.8269, 0.8945)), Cost(34.88, 266.54)),
    PaperNetwork("fcn8s", "FCN8s", "nnunet_pyconv.architectures.FCN8s",
        _table_2(Overlap(0.9545, 0.9752), Overlap(0.5139, 0.6447), Overlap(0.8345, 0.9005)), Cost(18.64, 85.86)),
    PaperNetwork("pyconv_unet", "PyConvU-Net", "nnunet_pyconv.architectures.PaperPyConvUNet",
        _table_2(Overlap(0.9630, 0.9339), Overlap(0.7050, 0.8227), Overlap(0.8385, 0.9117)), Cost(3.7, 10.65),
        note="No published code gives the paper's figures for PyConvU-Net: its class can't run, and no reading of the "
        "text gives both. Ours is the reading nearest to them that exceeds neither, see "
        "nnunet_pyconv.architectures.PaperPyConvUNet."),
    PaperNetwork("multires_unet", "MultiResUNet", "nnunet_pyconv.architectures.MultiResUNet",
        note="Described in the paper, but not measured there."),
)
# fmt: on


def epochs_of(trainer: str) -> int | None:
    """Return how many passes over the training cases a trainer makes, by its name.

    Args:
        trainer: Name of a trainer.

    Returns:
        50 for the paper's recipe, in whatever precision, N for its variants `_Nepochs` and for `nnUNetTrainer_Npasses`;
        None for others.
    """
    if trainer in (TRAINER, TRAINER_BF16):
        return EPOCHS
    shortened = re.fullmatch(rf"(?:{TRAINER}|{TRAINER_BF16})_(\d+)epochs?|nnUNetTrainer_(\d+)passes", trainer)
    return None if shortened is None else int(shortened[1] or shortened[2])
