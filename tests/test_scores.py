"""Scores of a model's cases, against nnU-Net's own evaluation and values by hand."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import NnunetFolders
from nnunetv2.evaluation.evaluate_predictions import load_summary_json
from results_folders import MadeDataset, square

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation import scores as scores_module
from nnunet_pyconv.evaluation.dataset import find_dataset
from nnunet_pyconv.evaluation.models import ModelFilter, find_trained
from nnunet_pyconv.evaluation.score_cache import CaseScores, ScoreCache
from nnunet_pyconv.evaluation.scores import ModelScores, Neurites, score_models

KEY = "nnUNetTrainer__nnUNetPlans__2d"
EMPTY = np.zeros((12, 12), int)


def score(neurites: Neurites | None = None, num_processes: int = 1) -> ModelScores:
    dataset = find_dataset("7")
    models = find_trained(dataset, ModelFilter())
    return score_models(dataset, models, tolerance=1, neurites=neurites, num_processes=num_processes)[0]


def test_dice_and_iou_are_those_of_nnunet(nnunet_folders: NnunetFolders) -> None:
    random = np.random.default_rng(0)
    truth = {f"c{index}": random.integers(0, 2, (12, 12)) for index in range(5)} | {"empty": EMPTY}
    made = MadeDataset(nnunet_folders, "Dataset007_Blob", truth)
    folder = made.model(KEY, {case: random.integers(0, 2, (12, 12)) * labels for case, labels in truth.items()})
    scores = score()
    assert [files.case for files in scores.model.cases] == ["c0", "c1", "c2", "c3", "c4", "empty"]
    entries = load_summary_json(str(folder / "validation/summary.json"))["metric_per_case"]
    for ours, theirs in (("dice", "Dice"), ("iou", "IoU")):
        expected = [entry["metrics"][1][theirs] for entry in entries]
        assert scores.per_image[ours] == pytest.approx(np.array(expected, float), nan_ok=True)
    assert np.isnan(scores.per_image["hd95"][-1])


def test_mean_iou_counts_the_background(nnunet_folders: NnunetFolders) -> None:
    """4 x 4 of 144 pixels, of which the prediction has half: IoU 8/16, and 128/136 for the background."""
    made = MadeDataset(nnunet_folders, "Dataset007_Blob", {"a": square(12, 2, 6, 2, 6), "none": EMPTY})
    made.model(KEY, {"a": square(12, 2, 4, 2, 6), "none": EMPTY})
    scores = score()
    assert scores.per_image["iou"][0] == pytest.approx(8 / 16)
    assert scores.per_image["mean_iou"] == pytest.approx([(8 / 16 + 128 / 136) / 2, 1.0])


def test_classes(nnunet_folders: NnunetFolders) -> None:
    """Class 2 is in the first image alone: the second image's mean is over class 1."""
    first, second = square(12, 1, 5, 1, 5) + 2 * square(12, 6, 10, 1, 5), square(12, 1, 5, 1, 5)
    labels = {"background": 0, "one": 1, "two": 2}
    made = MadeDataset(nnunet_folders, "Dataset007_Blob", {"a": first, "b": second}, labels)
    made.model(KEY, {"a": square(12, 1, 5, 1, 5), "b": second})
    scores = score()
    assert scores.per_class["one"]["dice"] == pytest.approx([1, 1])
    assert scores.per_class["two"]["dice"] == pytest.approx([0, math.nan], nan_ok=True)
    assert scores.per_class["two"]["hd95"][0] == pytest.approx(12 * math.sqrt(2))
    assert scores.per_image["dice"] == pytest.approx([0.5, 1])


def test_regions(nnunet_folders: NnunetFolders) -> None:
    """`whole` is labels 1 and 2, `core` label 2: a core that is predicted as 1 is right as whole."""
    truth = square(12, 1, 9, 1, 9) + square(12, 3, 6, 3, 6)
    labels = {"background": 0, "whole": [1, 2], "core": 2}
    made = MadeDataset(nnunet_folders, "Dataset007_Blob", {"a": truth}, labels, {"regions_class_order": (1, 2)})
    made.model(KEY, {"a": np.minimum(truth, 1)})
    scores = score()
    assert {name: float(values["dice"][0]) for name, values in scores.per_class.items()} == {"whole": 1, "core": 0}


def test_ignored_pixels_do_not_count(nnunet_folders: NnunetFolders) -> None:
    truth, prediction = square(12, 1, 5, 1, 5), square(12, 1, 5, 1, 5)
    truth[8:] = 2  # ignore
    prediction[10:] = 1
    labels = {"background": 0, "cell": 1, "ignore": 2}
    made = MadeDataset(nnunet_folders, "Dataset007_Blob", {"a": truth}, labels)
    made.model(KEY, {"a": prediction})
    scores = score()
    assert scores.per_image["dice"] == pytest.approx([1])
    assert scores.per_image["mean_iou"] == pytest.approx([1])
    assert np.isnan(scores.per_image["hd95"]).all()
    made.write(scores.model.cases[0].prediction, truth)
    with pytest.raises(InputError, match="has labels 2 that Dataset007_Blob doesn't have; expected 0, 1,"):
        score()


@pytest.fixture
def two_cells(nnunet_folders: NnunetFolders) -> MadeDataset:
    """Two cells, and a prediction that is sure of the membrane only in its middle."""
    truth = np.ones((12, 12), int)
    truth[:, 6] = 0
    made = MadeDataset(nnunet_folders, "Dataset007_ISBICell", {"a": truth})
    folder = made.model(KEY, {"a": np.ones((12, 12), int)})
    cell = np.ones((12, 12))
    cell[:, 6] = 0.65  # labels merge the cells, thresholds from 0.7 part them
    np.savez_compressed(folder / "validation/a.npz", probabilities=np.stack([1 - cell, cell])[:, None])
    return made


@pytest.mark.parametrize(
    ("on_probabilities", "v_rand", "thresholds"),
    [(True, 1.0, {"v_rand": 0.7, "v_info": 0.7}), (False, 2 * (1 / 2 * 1 / 2 + 1 / 2 * 1 / 2), {})],
    ids=["probabilities", "labels"],
)
def test_neurites(two_cells: MadeDataset, on_probabilities: bool, v_rand: float, thresholds: dict[str, float]) -> None:
    """Two halves, n = 132: 72 and 60 pixels. Merged: 2 Σ t² / (Σ t² + 1)."""
    scores = score(Neurites(1, is_membrane=False, on_probabilities=on_probabilities))
    if not on_probabilities:
        squares = (72 / 132) ** 2 + (60 / 132) ** 2
        v_rand = 2 * squares / (squares + 1)
    assert scores.per_image["v_rand"] == pytest.approx([v_rand])
    assert scores.thresholds == thresholds


def test_neurites_where_label_1_is_the_membrane(nnunet_folders: NnunetFolders) -> None:
    truth = np.zeros((12, 12), int)
    truth[:, 6] = 1
    made = MadeDataset(nnunet_folders, "Dataset007_ISBICell", {"a": truth}, {"background": 0, "membrane": 1})
    made.model(KEY, {"a": truth})
    assert score(Neurites(1, is_membrane=True, on_probabilities=False)).per_image["v_info"] == pytest.approx([1])


@pytest.mark.slow  # each process imports torch
def test_processes_give_the_same(nnunet_folders: NnunetFolders) -> None:
    random = np.random.default_rng(0)
    truth = {f"c{index}": random.integers(0, 2, (12, 12)) for index in range(3)}
    made = MadeDataset(nnunet_folders, "Dataset007_Blob", truth)
    made.model(KEY, {case: random.integers(0, 2, (12, 12)) for case in truth})
    one, two = score(), score(num_processes=2)
    for key in one.per_image:
        assert two.per_image[key] == pytest.approx(one.per_image[key])
    made.write(one.model.cases[1].prediction, square(9, 1, 2, 1, 2))
    with pytest.raises(InputError, match="has 9 x 9 pixels"):
        score(num_processes=2)


def test_scores_of_unchanged_files_are_known(
    nnunet_folders: NnunetFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNUNET_PYCONV_CACHE", str(tmp_path / "cache"))
    truth = {f"c{index}": square(12, 1, 5, 1, 5 + index) for index in range(3)}
    made = MadeDataset(nnunet_folders, "Dataset007_Blob", truth)
    folder = made.model(KEY, truth)
    read: list[str] = []
    real = scores_module.read_truth_and_prediction
    monkeypatch.setattr(
        scores_module,
        "read_truth_and_prediction",
        lambda dataset, files: (read.append(files.case), real(dataset, files))[1],
    )
    first = score()
    assert read == ["c0", "c1", "c2"]
    again = score()
    assert read == ["c0", "c1", "c2"]
    for key, values in first.per_image.items():
        assert again.per_image[key] == pytest.approx(values, nan_ok=True)
    made.write(folder / "validation/c1.png", square(12, 1, 3, 1, 6))
    assert score().per_image["dice"][1] < 1
    assert read[3:] == ["c1"]
    for file in (tmp_path / "cache").rglob("*.json"):
        file.write_text('{"per_class": 1}')  # damaged: computed again
    score()
    assert read[4:] == ["c0", "c1", "c2"]
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").touch()  # no folder can be made there: computed each time
    score()
    assert read[7:] == ["c0", "c1", "c2"]
    assert score(Neurites(1, is_membrane=False, on_probabilities=False)).per_image["v_rand"].shape == (3,)


def test_old_scores_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNUNET_PYCONV_CACHE", str(tmp_path))
    cache = ScoreCache.of({})
    for key in ("aa1", "bb2"):
        cache.put(key, CaseScores({}, {"mean_iou": 1.0}, {}))
    os.utime(tmp_path / "scores/aa/1.json", (1e9, 1e9))
    cache.prune()
    assert (cache.get("aa1"), cache.get("bb2")) == (None, CaseScores({}, {"mean_iou": 1.0}, {}))
    assert ScoreCache.of({}, 2).settings != cache.settings
