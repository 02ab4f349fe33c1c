from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import skimage.io as io
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

from nnunet_pyconv.demo.overlap import CaseOverlap, format_table, mean_overlap, read_overlaps
from nnunet_pyconv.demo.picture import save_picture


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    """Two cases by hand: TP 2, FP 1, FN 1; and one where the label is in neither mask."""
    for folder in ("truth", "prediction", "images"):
        (tmp_path / folder).mkdir()
    truth = np.array([[1, 1, 1, 0]], np.uint8).repeat(4, axis=0)
    prediction = np.array([[0, 1, 1, 1]], np.uint8).repeat(4, axis=0)
    for case, t, p in (("b", truth, prediction), ("a", truth * 0, prediction * 0)):
        io.imsave(tmp_path / f"truth/{case}.png", t, check_contrast=False)
        io.imsave(tmp_path / f"prediction/{case}.png", p, check_contrast=False)
        io.imsave(tmp_path / f"images/{case}_0000.png", t * 200, check_contrast=False)
    compute_metrics_on_folder(
        folder_ref=str(tmp_path / "truth"),
        folder_pred=str(tmp_path / "prediction"),
        output_file=str(tmp_path / "summary.json"),
        image_reader_writer=NaturalImage2DIO(),
        file_ending=".png",
        regions_or_labels=[1],
        num_processes=1,
    )
    return tmp_path


def test_scores_of_nnunets_summary(evaluated: Path) -> None:
    empty, half = read_overlaps(evaluated / "summary.json", ".png")
    assert (empty.case, half.case) == ("a", "b")
    assert (half.dice, half.iou) == (pytest.approx(2 / 3), pytest.approx(1 / 2))
    assert math.isnan(empty.dice)
    assert math.isnan(empty.iou)
    assert mean_overlap([empty, half]) == CaseOverlap("mean", half.dice, half.iou)


def test_mean_of_nothing_is_nan() -> None:
    assert math.isnan(mean_overlap([]).dice)


def test_table() -> None:
    assert format_table([CaseOverlap("case_1", 0.5, 1 / 3)]) == "case     Dice    IoU\ncase_1  0.5000  0.3333"


@pytest.mark.slow
def test_picture_shows_errors_in_colour(evaluated: Path) -> None:
    overlaps = read_overlaps(evaluated / "summary.json", ".png")
    file = evaluated / "picture.png"
    save_picture(
        file,
        overlaps,
        images=evaluated / "images",
        truths=evaluated / "truth",
        predictions=evaluated / "prediction",
        file_ending=".png",
    )
    colours = {tuple(colour) for colour in io.imread(file)[..., :3].reshape(-1, 3)}
    assert {(213, 94, 0), (0, 114, 178)} <= colours
