"""Hundreds of damaged and hostile inputs: each command ends in success or in one clear error, and loses nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import NnunetFolders
from damage import damage_one
from packages import MODEL, make_model
from PIL import Image
from plans_of_nnunet import DATASET, DATASET_JSON, make_plans
from results_folders import MadeDataset, square

from nnunet_pyconv.cli import main
from nnunet_pyconv.sharing import share_model
from nnunet_pyconv.synthetic.isbi import write_synthetic_isbi
from nnunet_pyconv.trainers import nnUNetTrainerPyConv
from nnunet_pyconv.writing import MARK

pytestmark = [pytest.mark.campaign, pytest.mark.slow]

SEED = int(os.environ.get("NNUNET_PYCONV_CAMPAIGN_SEED", "2026"))
SHARE = float(os.environ.get("NNUNET_PYCONV_CAMPAIGN_SHARE", "1"))


@dataclass(frozen=True)
class Area:
    """Inputs of one kind.

    Attributes:
        runs: How many damaged inputs.
        make: Writes good inputs below a folder that holds nnU-Net's three.
        inputs: What of them is damaged, relative to that folder.
        commands: Commands that read them, one of which is run on each.
    """

    runs: int
    make: Callable[[NnunetFolders], None]
    inputs: str
    commands: tuple[tuple[str, ...], ...]


def make_isbi(folders: NnunetFolders) -> None:
    write_synthetic_isbi(folders.raw.parent / "source", labelled=8, unlabelled=1, size_px=16)


def make_lung(folders: NnunetFolders) -> None:
    for number in range(8):
        for folder, pixels in (
            ("2d_images", -800 * square(16, 2, 14, 2, 14)),
            ("2d_masks", 255 * square(16, 2, 14, 2, 14)),
        ):
            file = folders.raw.parent / "source" / folder / f"ID_{number:04d}_Z_{100 + number:04d}.tif"
            file.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(file, pixels.astype(np.int16 if folder == "2d_images" else np.uint8))


def make_liver(folders: NnunetFolders) -> None:
    for folder, count in (("train", 6), ("val", 2)):
        for number in range(count):
            file = folders.raw.parent / "source" / folder / f"{number:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            mask = square(16, 2, 14, 2, 14).astype(np.uint8)
            Image.fromarray(np.repeat(100 * mask[..., None], 3, axis=-1)).save(file)
            Image.fromarray(255 * mask).save(file.with_name(f"{number:03d}_mask.png"))


def make_pairs(folders: NnunetFolders) -> None:
    for number in range(6):
        mask = square(16, 2, 14, 2, 14).astype(np.uint8)
        for folder, pixels in (("images", 100 + number * mask), ("masks", 255 * mask)):
            file = folders.raw.parent / "source" / folder / f"case_{number:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)


def make_planned(folders: NnunetFolders) -> None:
    folder = folders.preprocessed / DATASET
    (folder / "nnUNetPlans_2d").mkdir(parents=True)
    (folder / "nnUNetPlans_2d" / "case.pkl").touch()
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    plans = make_plans()
    plans["configurations"]["2d"]["median_image_size_in_voxels"] = [32, 32]
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans))


def make_trained(folders: NnunetFolders) -> None:
    make_model(folders, nnUNetTrainerPyConv)


def make_package(folders: NnunetFolders) -> None:
    model = make_model(folders, nnUNetTrainerPyConv)
    (folders.raw.parent / "source").mkdir()
    share_model(model, folders.raw.parent / "source" / "model.zip")
    shutil.rmtree(model.parent)


def make_results(folders: NnunetFolders) -> None:
    truth = {f"case_{index}": square(16, 2, 14, 2, 14) for index in range(2)}
    made = MadeDataset(folders, DATASET, truth, {"background": 0, "cell": 1})
    made.model("nnUNetTrainer__nnUNetPlans__2d", {case: square(16, 3, 14, 2, 14) for case in truth})
    made.model("nnUNetTrainerPyConv__nnUNetPlans__2d", truth)


PAIRS = ("convert", "folder", "-i", "source/images", "-l", "source/masks", "-d", "400", "-n", "Own", "-np", "1")
AREAS = {
    "isbi": Area(50, make_isbi, "source", (("convert", "isbi_cell", "-i", "source", "-np", "1"),)),
    "lung": Area(50, make_lung, "source", (("convert", "kaggle_lung", "-i", "source", "-np", "1"),)),
    "liver": Area(50, make_liver, "source", (("convert", "liver", "-i", "source", "-np", "1"),)),
    "pairs": Area(90, make_pairs, "source", (PAIRS, (*PAIRS, "--labels", "background=0", "cell=255"))),
    "plans": Area(
        100, make_planned, "nnUNet_preprocessed", (("plan", "-d", "312"), ("plan", "-d", "312", "--paper"), ("doctor",))
    ),
    "checkpoints": Area(
        90,
        make_trained,
        "nnUNet_results",
        (("share", f"nnUNet_results/{MODEL}", "-o", "model.zip"), ("doctor", f"nnUNet_results/{MODEL}")),
    ),
    "packages": Area(100, make_package, "source", (("install", "source/model.zip"),)),
    "results": Area(60, make_results, ".", (("report", "-np", "1", "-o", "report"),)),
}


@dataclass
class Outcome:
    """How a command ended: `succeeded`, `refused` with one error, or `wrong`; and what it said."""

    kind: str
    text: str


def outcome(command: tuple[str, ...], witness: Path) -> Outcome:
    """Run a command."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            main(command)
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        return Outcome("wrong", f"a traceback: {traceback.format_exc()[-1500:]}")
    if witness.exists():
        return Outcome("wrong", "code in the input was executed")
    text = err.getvalue()
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    if (code == 0 and not errors) or (code == 1 and command[0] == "doctor"):
        return Outcome("succeeded", text)
    if code == 2 and len(errors) == 1:
        return Outcome("refused", text)
    return Outcome("wrong", f"exit status {code!r} and {text[-500:]!r}")


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", AREAS)
def test_each_ends_well(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    area = AREAS[name]
    good, here = tmp_path / "good", tmp_path / "here"
    for variable in ("raw", "preprocessed", "results"):
        (good / f"nnUNet_{variable}").mkdir(parents=True)
        monkeypatch.setenv(f"nnUNet_{variable}", str(good / f"nnUNet_{variable}"))
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    area.make(NnunetFolders(*(good / f"nnUNet_{variable}" for variable in ("raw", "preprocessed", "results"))))
    for variable in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{variable}", str(here / f"nnUNet_{variable}"))
    for command in area.commands:  # what is not damaged has to be taken
        shutil.copytree(good, here, dirs_exist_ok=True)
        monkeypatch.chdir(here)
        ended = outcome(command, here / "witness")
        assert ended.kind == "succeeded", ended.text
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(here)
    counts: Counter[str] = Counter()
    wrong = []
    for number in range(max(1, round(area.runs * SHARE))):
        rng = random.Random(f"{SEED} {name} {number}")
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(good, here)
        what = "; ".join(damage_one(rng, here / area.inputs) for _ in range(rng.choice((1, 1, 1, 2))))
        monkeypatch.chdir(here)
        before = files_of(here)
        command = rng.choice(area.commands)
        ended = outcome(command, here / "witness")
        left = files_of(here)
        if ended.kind == "refused" and left - before:
            ended = Outcome("wrong", f"refused, but wrote {sorted(left - before)[:5]}: {ended.text}")
        elif before - left or any(MARK in path for path in left):
            ended = Outcome("wrong", f"lost {sorted(before - left)[:5]}, or left something half-written: {ended.text}")
        counts[ended.kind] += 1
        if ended.kind == "wrong":
            wrong.append(f"--- {name} {number}: {what}\n{' '.join(command)}\n{ended.text}")
    with capsys.disabled():
        print(f"\n{name}: {counts.total()} inputs, {dict(counts)}")
    assert not wrong, f"{len(wrong)} of {counts.total()}\n" + "\n".join(wrong)
