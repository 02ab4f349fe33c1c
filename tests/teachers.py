"""A dataset's split and trained models for tests, as nnU-Net leaves them, without data and without a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from batchgenerators.utilities.file_and_folder_operations import save_json
from conftest import NnunetFolders
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from plans_of_nnunet import DATASET, make_plans

DATASET_JSON = {"labels": {"background": 0, "cell": 1}, "channel_names": {"0": "EM"}, "file_ending": ".png"}

SPLITS = ((("a", "b"), ("c", "d")), (("c", "d"), ("a", "b")))
"""Training and validation cases of two folds."""


def plans_2d(network: str = "PlainConvUNet", patch_size: int = 32) -> dict[str, Any]:
    """Plans with what preprocessing reads."""
    plans = make_plans(network, patch_size)
    plans["configurations"] = {"2d": plans["configurations"]["2d"]}
    plans["configurations"]["2d"] |= {
        "spacing": [1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": True,
    }
    plans["foreground_intensity_properties_per_channel"] = {"0": {"mean": 100.0, "std": 20.0}}
    return plans


def plans_3d() -> dict[str, Any]:
    """The same in 3D, with a flat first stage, and a second stage of a cascade."""
    plans = plans_2d()
    configuration = plans["configurations"].pop("2d")
    configuration |= {"data_identifier": "nnUNetPlans_3d_fullres", "patch_size": [8, 16, 16], "spacing": [3.0, 1, 1]}
    architecture = configuration["architecture"]["arch_kwargs"]
    architecture["kernel_sizes"] = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]
    architecture["strides"] = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    architecture["conv_op"] = "torch.nn.modules.conv.Conv3d"
    architecture["norm_op"] = "torch.nn.modules.instancenorm.InstanceNorm3d"
    plans["configurations"] = {
        "3d_fullres": configuration,
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    }
    return plans


def write_split(
    folders: NnunetFolders,
    dataset: str = DATASET,
    splits: Sequence[tuple[Sequence[str], Sequence[str]]] = SPLITS,
    test: Sequence[str] = (),
) -> None:
    """Write a dataset's cases, empty, as preprocessing leaves them, its split and its test cases."""
    preprocessed = folders.preprocessed / dataset
    for case in sorted({case for split in splits for part in split for case in part}):
        for file in (
            f"nnUNetPlans_2d/{case}.b2nd",
            f"nnUNetPlans_3d_fullres/{case}.b2nd",
            f"gt_segmentations/{case}.png",
        ):
            (preprocessed / file).parent.mkdir(parents=True, exist_ok=True)
            (preprocessed / file).touch()
    save_json([{"train": train, "val": val} for train, val in splits], str(preprocessed / "splits_final.json"))
    (folders.raw / dataset / "imagesTs").mkdir(parents=True)
    for case in test:
        (folders.raw / dataset / "imagesTs" / f"{case}_0000.png").touch()


def make_trainer(
    trainer: type[nnUNetTrainer],
    plans: Mapping[str, Any],
    fold: int | str = 0,
    dataset_json: Mapping[str, Any] = DATASET_JSON,
    configuration: str = "2d",
) -> nnUNetTrainer:
    """Make a trainer as nnUNetv2_train does."""
    given = {**deepcopy(dict(plans)), "continue_training": False}
    return trainer(given, configuration, fold, deepcopy(dict(dataset_json)), torch.device("cpu"))


def write_teacher(
    plans: Mapping[str, Any],
    folds: Sequence[int | str] = (0,),
    trainer: type[nnUNetTrainer] = nnUNetTrainer,
    dataset_json: Mapping[str, Any] = DATASET_JSON,
    configuration: str = "2d",
    validated: Sequence[str] | None = None,
) -> Path:
    """Write what the training of some folds leaves, with initial weights; returns the model's folder."""
    folder = Path()
    for fold in folds:
        made = make_trainer(trainer, plans, fold, dataset_json, configuration)
        made.initialize()
        made.save_checkpoint(str(Path(made.output_folder) / "checkpoint_final.pth"))
        if validated is not None:
            (Path(made.output_folder) / "validation").mkdir()
            metrics = [{"prediction_file": f"/elsewhere/validation/{case}.png"} for case in validated]
            save_json({"metric_per_case": metrics}, str(Path(made.output_folder) / "validation" / "summary.json"))
        folder = Path(made.output_folder_base)
    save_json(dict(plans), str(folder / "plans.json"), sort_keys=False)
    save_json(dict(dataset_json), str(folder / "dataset.json"), sort_keys=False)
    return folder
