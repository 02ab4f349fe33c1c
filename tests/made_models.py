"""Models made by nnU-Net's own code, from its planner to its checkpoint, but hardly trained."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing.pool
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  # its own habit
import skimage.io
import tifffile
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from batchgenerators.utilities.file_and_folder_operations import save_json
from conftest import NnunetFolders
from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities import utils
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

Write = Callable[[Path, np.ndarray], None]


class _Threads:
    """In the place of nnU-Net's pool of processes, each of which would import torch anew."""

    def Pool(self, processes: int) -> multiprocessing.pool.ThreadPool:  # noqa: N802
        pool = multiprocessing.pool.ThreadPool(1)
        for worker in pool._pool:
            worker.is_alive = lambda: True
        return pool


class SmallPlanner(ExperimentPlanner):
    """nnU-Net's planner for networks of few channels and small patches."""

    def __init__(self, dataset: str) -> None:
        super().__init__(dataset, gpu_memory_target_in_gb=0.02)
        self.UNet_base_num_features = 4
        self.UNet_max_features_2d = self.UNet_max_features_3d = 8


@dataclass(frozen=True)
class Recipe:
    """A model to make.

    Attributes:
        shape: Of the images, ([z,] y, x).
        labels: Of dataset.json.
        channels: Names of the channels.
        file_ending: Of all files.
        spacing: (z, y, x) in mm, for files that have one.
        direction: Of files that have one.
        configuration: Of the plans.
        folds: To make.
        mirroring: Whether the trainer mirrors.
        colours: Channels in one file.
        offset: Added to the images, as with Hounsfield units.
        border: Voxels around the images that are 0.
        entries: Further entries of dataset.json.
        plans: Changes the plans of the configuration.
        test_shape: Of the image to predict, if another.
    """

    shape: tuple[int, ...]
    labels: Mapping[str, Any] = field(default_factory=lambda: {"background": 0, "a": 1, "b": 2})
    channels: tuple[str, ...] = ("MR",)
    file_ending: str = ".nii.gz"
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    configuration: str = "2d"
    folds: tuple[int, ...] = (0,)
    mirroring: bool = True
    colours: int = 1
    offset: float = 0.0
    border: int = 0
    entries: Mapping[str, Any] = field(default_factory=dict)
    plans: Callable[[dict[str, Any]], None] = lambda plans: None
    test_shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Made:
    """A model, and images to predict with it."""

    folder: Path
    images: Path
    ending: str

    def cases(self) -> list[list[str]]:
        names = sorted({file.name.removesuffix(self.ending)[:-5] for file in self.images.glob(f"*{self.ending}")})
        return [[str(file) for file in sorted(self.images.glob(f"{name}_????{self.ending}"))] for name in names]


def make_model(
    recipe: Recipe, folders: NnunetFolders, name: str, configurations: Sequence[str] = ()
) -> dict[str, Made]:
    """Make the models of a recipe's configurations, or of those given, of one dataset."""
    raw = folders.raw / name
    for case in range(3):
        write_case(recipe, raw, "Tr", case, recipe.shape)
    write_case(recipe, raw, "Ts", 3, recipe.test_shape or recipe.shape)
    dataset_json = {
        "channel_names": dict(enumerate(recipe.channels)),
        "labels": recipe.labels,
        "numTraining": 3,
        "file_ending": recipe.file_ending,
        **recipe.entries,
    }
    save_json(dataset_json, str(raw / "dataset.json"), sort_keys=False)
    dataset_json = json.loads((raw / "dataset.json").read_text())
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(fingerprint_extractor.multiprocessing, "get_context", lambda kind: _Threads())
        patch.setattr(utils, "Pool", multiprocessing.pool.ThreadPool)
        extractor = fingerprint_extractor.DatasetFingerprintExtractor(name, 1)
        extractor.num_foreground_voxels_for_intensitystats = 30_000  # else it draws a hundred million
        extractor.run()
        planner = SmallPlanner(name)
        plans = planner.plan_experiment()
    plans = json.loads((folders.preprocessed / name / f"{plans['plans_name']}.json").read_text())
    recipe.plans(plans)
    made = {}
    for configuration in configurations or [recipe.configuration]:
        folder = _train(plans, dataset_json, recipe, configuration, raw, folders.preprocessed / name)
        made[configuration] = Made(folder, raw / "imagesTs", recipe.file_ending)
    return made


def _train(
    plans: dict[str, Any], dataset_json: dict[str, Any], recipe: Recipe, configuration: str, raw: Path, data: Path
) -> Path:
    """What a training leaves; it is too short for more than a rough segmentation."""
    for identifier in {plans["configurations"].get(c, {}).get("data_identifier") for c in plans["configurations"]} - {
        None
    }:
        (data / identifier).mkdir(exist_ok=True)
        (data / identifier / "case.b2nd").touch()  # nnU-Net looks at its ending
    for fold in recipe.folds:
        torch.manual_seed(fold)
        trainer = nnUNetTrainer(
            {**plans, "continue_training": False}, configuration, fold, dataset_json, torch.device("cpu")
        )
        trainer.initialize()
        trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        if not recipe.mirroring:
            trainer.inference_allowed_mirroring_axes = None  # as nnUNetTrainerNoMirroring
        _fit(trainer, raw)
        folder = Path(trainer.output_folder)
        trainer.logger.log("train_losses", np.float64(0.5), 0)
        trainer.save_checkpoint(str(folder / "checkpoint_final.pth"))
    for name, content in (("plans", plans), ("dataset", dataset_json)):
        (folder.parent / f"{name}.json").write_text(json.dumps(content))
    return folder.parent


def _fit(trainer: nnUNetTrainer, raw: Path, steps: int = 60) -> None:
    """Train for some seconds, so that the labels are patches of some size and not noise."""
    trainer.set_deep_supervision_enabled(False)
    patch = trainer.configuration_manager.patch_size
    labels = trainer.label_manager
    batches = []
    for case in range(3):
        ending = trainer.dataset_json["file_ending"]
        images = sorted(str(file) for file in (raw / "imagesTr").glob(f"case{case}_????{ending}"))
        data, seg, _ = trainer.configuration_manager.preprocessor_class(verbose=False).run_case(
            images,
            str(raw / "labelsTr" / f"case{case}{ending}"),
            trainer.plans_manager,
            trainer.configuration_manager,
            trainer.dataset_json,
        )
        if trainer.is_cascaded:
            data = np.vstack([data, *(seg == label for label in labels.foreground_labels)])
        if len(patch) == 2:
            data, seg = data[:, len(seg[0]) // 2], seg[:, len(seg[0]) // 2]
        corner = (slice(None), *map(slice, patch))
        data, seg = (pad_nd_image(array, patch)[corner] for array in (data, seg))
        batches.append((torch.from_numpy(data)[None].float(), torch.from_numpy(np.maximum(seg, 0)).long()))
    optimizer = torch.optim.Adam(trainer.network.parameters(), 0.01)
    for step in range(steps):
        data, seg = batches[step % len(batches)]
        logits = trainer.network(data)
        if labels.has_regions:
            target = torch.stack([torch.isin(seg, torch.tensor(region)) for region in labels.foreground_regions], 1)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target.float())
        else:
            ignored = -100 if labels.ignore_label is None else labels.ignore_label
            loss = torch.nn.functional.cross_entropy(logits, seg, ignore_index=ignored)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def write_case(recipe: Recipe, raw: Path, part: str, case: int, shape: Sequence[int]) -> None:
    rng = np.random.default_rng(case)
    values = sorted(
        {int(v) for label in recipe.labels.values() for v in (label if isinstance(label, list) else [label])}
    )
    labels = np.zeros(shape, np.uint8)
    for number, value in enumerate(values):  # bands along the last axis, so that each label is there
        edge = shape[-1] * number // len(values)
        labels[..., edge : shape[-1] * (number + 1) // len(values)] = value
    for channel in range(len(recipe.channels) // recipe.colours):
        noise = rng.normal(0, 25, shape)
        image = np.clip(labels * 40.0 + noise + 60, 1, 250) + recipe.offset
        if recipe.border:
            inside = tuple(slice(recipe.border, size - recipe.border) if size > 1 else slice(None) for size in shape)
            cropped = np.zeros(shape)
            cropped[inside] = image[inside]
            image = cropped
        if recipe.colours > 1:
            image = np.stack([image, 255 - image, (image + rng.normal(0, 9, shape)).clip(0, 255)], -1)
        write(recipe, image, raw / f"images{part}" / f"case{case}_{channel:04d}{recipe.file_ending}")
    write(recipe, labels, raw / f"labels{part}" / f"case{case}{recipe.file_ending}")


def write(recipe: Recipe, array: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if recipe.file_ending == ".nii.gz":
        image = sitk.GetImageFromArray(array if array.dtype == np.uint8 else array.astype(np.float32))
        image.SetSpacing(recipe.spacing[::-1])
        image.SetOrigin((3.5, -20.0, 11.25))
        image.SetDirection(recipe.direction)
        sitk.WriteImage(image, str(file))
    elif recipe.file_ending == ".png":
        skimage.io.imsave(file, array.astype(np.uint8), check_contrast=False)
    else:
        tifffile.imwrite(file, array if array.dtype == np.uint8 else array.astype(np.int16))
        if array.ndim == 3:
            spacing = file.with_name(file.name.partition("_")[0].removesuffix(file.suffix) + ".json")
            spacing.write_text(json.dumps({"spacing": recipe.spacing}))


def preprocess(folders: NnunetFolders, name: str, made: Made) -> None:
    """Preprocess the training cases as nnU-Net does."""
    plans = PlansManager(str(made.folder / "plans.json"))
    dataset_json = json.loads((made.folder / "dataset.json").read_text())
    configuration = plans.get_configuration(made.folder.name.rpartition("__")[2])
    target = folders.preprocessed / name / configuration.data_identifier
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for label in sorted((folders.raw / name / "labelsTr").glob(f"*{made.ending}")):
        case = label.name.removesuffix(made.ending)
        images = sorted(map(str, (folders.raw / name / "imagesTr").glob(f"{case}_????{made.ending}")))
        DefaultPreprocessor(verbose=False).run_case_save(
            str(target / case), images, str(label), plans, configuration, dataset_json
        )


def predict_with_nnunet(
    made: Made,
    target: Path,
    *,
    probabilities: bool = True,
    previous: Path | None = None,
    folds: Sequence[int] = (0,),
    mirroring: bool = True,
) -> None:
    """Predict as `nnUNetv2_predict -device cpu -npp 0 -nps 0` does."""
    predictor = nnUNetPredictor(device=torch.device("cpu"), use_mirroring=mirroring, allow_tqdm=False)
    with contextlib.redirect_stdout(io.StringIO()):
        predictor.initialize_from_trained_model_folder(str(made.folder), tuple(folds))
        cases = made.cases()
        names = [Path(case[0]).name.removesuffix(made.ending)[:-5] for case in cases]
        target.mkdir(parents=True, exist_ok=True)
        predictor.predict_from_files_sequential(
            cases,
            [str(target / name) for name in names],
            save_probabilities=probabilities,
            folder_with_segs_from_prev_stage=None if previous is None else str(previous),
        )
