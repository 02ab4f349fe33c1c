"""nnU-Net's results folders, made by nnU-Net's own code from given masks: no training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import skimage.io as io
import torch
from batchgenerators.utilities.file_and_folder_operations import save_json
from conftest import NnunetFolders
from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
from nnunetv2.evaluation.evaluate_predictions import compute_metrics, save_summary_json
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

Masks = Mapping[str, np.ndarray]


@dataclass
class MadeDataset:
    """A dataset of PNGs whose truths and predictions a test chooses."""

    folders: NnunetFolders
    name: str
    truth: Masks
    labels: Mapping[str, Any] = field(default_factory=lambda: {"background": 0, "cell": 1})
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.raw = self.folders.raw / self.name
        self.results = self.folders.results / self.name
        for case, labels in self.truth.items():
            self.write(self.raw / "labelsTr" / f"{case}.png", labels)
            image = np.random.default_rng(0).integers(0, 60, labels.shape) + 60 * labels.astype(int)
            self.write(self.raw / "imagesTr" / f"{case}_0000.png", image)
        generate_dataset_json(str(self.raw), {0: "EM"}, dict(self.labels), len(self.truth), ".png", **self.kwargs)
        self.split([list(self.truth)])

    def split(self, validation: Sequence[Sequence[str]]) -> None:
        preprocessed = self.folders.preprocessed / self.name
        preprocessed.mkdir(exist_ok=True)
        save_json([{"train": [], "val": list(cases)} for cases in validation], str(preprocessed / "splits_final.json"))

    def model(
        self,
        key: str,
        predictions: Masks,
        *,
        fold: str = "0",
        losses: Sequence[float] = (1.0, 0.5),
        dices: Sequence[Sequence[float]] = ((0.5,), (0.8,)),
        network: str = "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    ) -> Path:
        """What a finished training and validation leave of a fold; returns the fold's folder."""
        folder = self.results / key / f"fold_{fold}"
        for case, labels in predictions.items():
            self.write(folder / "validation" / f"{case}.png", labels)
        self.summarise(folder / "validation", predictions)
        configurations = {key.split("__")[2]: {"architecture": {"network_class_name": network}}}
        save_json({"configurations": configurations}, str(folder.parent / "plans.json"))
        torch.save(
            {"logging": logged(losses, dices), "network_weights": {"a": torch.zeros(3)}},
            folder / "checkpoint_final.pth",
        )
        return folder

    def summarise(self, folder: Path, predictions: Masks) -> None:
        entries = [
            compute_metrics(
                str(self.raw / "labelsTr" / f"{case}.png"),
                str(folder / f"{case}.png"),
                NaturalImage2DIO(),
                [
                    tuple(label) if isinstance(label, list) else label
                    for name, label in self.labels.items()
                    if name not in ("background", "ignore")
                ],
            )
            for case in predictions
        ]
        for entry in entries:
            recursive_fix_for_json_export(entry)
        save_summary_json({"metric_per_case": entries, "mean": {}, "foreground_mean": {}}, str(folder / "summary.json"))

    def write(self, file: Path, array: np.ndarray) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        io.imsave(file, array.astype(np.uint8), check_contrast=False)


def logged(losses: Sequence[float], dices: Sequence[Sequence[float]]) -> dict[str, Any]:
    """What nnU-Net's own logger puts into a checkpoint."""
    logger = MetaLogger("", resume=False)
    for epoch, (loss, dice) in enumerate(zip(losses, dices, strict=True)):
        logger.log("train_losses", np.float64(loss), epoch)
        logger.log("val_losses", loss, epoch)
        logger.log("dice_per_class_or_region", [np.float64(value) for value in dice], epoch)
        logger.log("mean_fg_dice", np.nanmean(dice), epoch)
    return logger.get_checkpoint()


def square(size: int, *edges: int) -> np.ndarray:
    """A mask of `size` x `size` with a filled rectangle `top, bottom, left, right`."""
    labels = np.zeros((size, size), int)
    top, bottom, left, right = edges
    labels[top:bottom, left:right] = 1
    return labels
