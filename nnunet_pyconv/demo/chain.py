"""The demo: every step of nnU-Net's chain, through nnU-Net's own code."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from batchgenerators.utilities.file_and_folder_operations import load_json, save_json
from nnunetv2.configuration import default_num_processes
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
    preprocess_dataset,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.utilities.file_path_utilities import get_output_folder
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tqdm import tqdm

from nnunet_pyconv.dataset_conversion import isbi_cell
from nnunet_pyconv.dataset_conversion.conversion import convert
from nnunet_pyconv.demo.folder import DemoFolder
from nnunet_pyconv.demo.network import CONFIGURATION, REAL, SYNTHETIC, DemoTraining, small_configuration
from nnunet_pyconv.demo.overlap import CaseOverlap, format_table, mean_overlap, read_overlaps
from nnunet_pyconv.demo.picture import save_picture
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.synthetic.isbi import write_synthetic_isbi

TRAINER = "nnUNetTrainerPyConv"
PLANS = "nnUNetPlans"
FOLD = 0


def run(folder: DemoFolder, source: Path | None, device: torch.device) -> Path:
    """Convert, plan, preprocess, train, validate, predict, evaluate and draw.

    To be called inside `folder.environment()`.

    Args:
        folder: Where to.
        source: Folder of the ISBI 2012 data; None makes synthetic data in the same files.
        device: Where the network runs.

    Returns:
        The dataset folder; scores, picture and predictions are in `folder`.

    Raises:
        InputError: A source that can't be used.
    """
    console = _Console(folder)
    if source is None:
        source, training = folder.source, SYNTHETIC
        with console.step("make a synthetic EM data set in the files of ISBI 2012"):
            write_synthetic_isbi(source)
    else:
        training = REAL

    with console.step("convert it to nnU-Net's raw format"):
        dataset = convert(isbi_cell, source)
    with console.step("extract the fingerprint, plan the experiment, preprocess"):
        _plan_and_preprocess(folder, dataset.name, training)
    with console.step(f"train fold {FOLD} with {TRAINER} on {device}"):
        trainer = _train(dataset.name, training, device)
    with console.step("validate on the cases of the fold"):
        trainer.perform_actual_validation()
    with console.step("predict the test cases"):
        _predict(folder, dataset, device)
    with console.step("evaluate the prediction with nnU-Net"):
        overlaps = _evaluate(folder, dataset)
    with console.step("draw image, truth and prediction"):
        save_picture(
            folder.picture,
            overlaps,
            dataset / "imagesTs",
            dataset / "labelsTs",
            folder.predictions,
            isbi_cell.DESCRIPTION.file_ending,
        )
    print(f"\n{format_table([*overlaps, mean_overlap(overlaps)])}\n")
    return dataset


def model_folder(dataset_name: str) -> Path:
    """Return the folder of the model that the demo trains; to be called inside `folder.environment()`."""
    return Path(get_output_folder(dataset_name, TRAINER, PLANS, CONFIGURATION))


class _Console:
    """Says each step and its time; what nnU-Net prints goes to a log."""

    def __init__(self, folder: DemoFolder) -> None:
        self._log = folder.log
        self._number = 0

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        self._number += 1
        print(f"[{self._number}] {text}", flush=True)
        start = time.monotonic()
        try:
            with self._log.open("a") as log, redirect_stdout(log):
                yield
        except InputError:
            raise
        except Exception:
            print(f"    failed; what nnU-Net printed is in {self._log}", flush=True)
            raise
        print(f"    {time.monotonic() - start:.0f} s", flush=True)


def _plan_and_preprocess(folder: DemoFolder, dataset_name: str, training: DemoTraining) -> None:
    dataset_id = isbi_cell.DESCRIPTION.dataset_id
    extract_fingerprint_dataset(dataset_id, check_dataset_integrity=True, num_processes=default_num_processes)
    plan_experiment_dataset(dataset_id)
    plans_file = folder.preprocessed / dataset_name / f"{PLANS}.json"
    plans = load_json(str(plans_file))
    plans["configurations"][CONFIGURATION] = small_configuration(plans, training)
    save_json(plans, str(plans_file), sort_keys=False)
    preprocess_dataset(dataset_id, PLANS, configurations=[CONFIGURATION], num_processes=[default_num_processes])


def _train(dataset_name: str, training: DemoTraining, device: torch.device) -> Any:
    trainer = get_trainer_from_args(dataset_name, CONFIGURATION, FOLD, TRAINER, PLANS, device=device)
    trainer.num_epochs = training.epochs
    trainer.num_iterations_per_epoch = training.iterations_per_epoch
    trainer.num_val_iterations_per_epoch = max(1, training.iterations_per_epoch // 10)
    train_step = trainer.train_step
    with tqdm(total=training.epochs * training.iterations_per_epoch, desc="training", unit="iteration") as bar:

        def train_step_with_bar(batch: dict[str, Any]) -> Any:
            outputs = train_step(batch)
            bar.set_postfix(loss=f"{outputs['loss']:.3f}", refresh=False)
            bar.update()
            return outputs

        trainer.train_step = train_step_with_bar
        trainer.run_training()
    return trainer


def _predict(folder: DemoFolder, dataset: Path, device: torch.device) -> None:
    predictor = nnUNetPredictor(device=device)
    predictor.initialize_from_trained_model_folder(str(model_folder(dataset.name)), use_folds=(FOLD,))
    folder.predictions.mkdir()
    # few and small images: done before worker processes have imported torch, and nothing is left where this is killed
    predictor.predict_from_files_sequential(str(dataset / "imagesTs"), str(folder.predictions))


def _evaluate(folder: DemoFolder, dataset: Path) -> list[CaseOverlap]:
    plans = PlansManager(str(folder.predictions / "plans.json"))
    dataset_json = load_json(str(dataset / "dataset.json"))
    labels = plans.get_label_manager(dataset_json)
    summary = folder.predictions / "summary.json"
    compute_metrics_on_folder(
        str(dataset / "labelsTs"),
        str(folder.predictions),
        str(summary),
        plans.image_reader_writer_class(),
        dataset_json["file_ending"],
        labels.foreground_labels,
        labels.ignore_label,
        num_processes=default_num_processes,
        chill=False,  # a missing prediction is an error
    )
    return read_overlaps(summary, dataset_json["file_ending"])
