"""Trained models and packages of them, as they are and as a stranger could have made them."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from conftest import NnunetFolders
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from plans_of_nnunet import DATASET, make_plans

from nnunet_pyconv.sharing.manifest import MANIFEST

MODEL = f"{DATASET}/nnUNetTrainerPyConv__nnUNetPlans__2d"
DATASET_JSON = {
    "labels": {"background": 0, "cell": 1},
    "channel_names": {"0": "EM"},
    "file_ending": ".png",
    "numTraining": 24,
}
SUMMARY = {"foreground_mean": {"Dice": 0.8125, "IoU": 0.6875}, "mean": {}, "metric_per_case": [{}, {}, {}]}
Members = dict[str, bytes]


def make_model(folders: NnunetFolders, trainer_class: type[nnUNetTrainer], folds: tuple[int, ...] = (0,)) -> Path:
    """What a training leaves, but the weights are those it starts with."""
    plans = make_plans()
    plans["configurations"]["2d"]["batch_dice"] = True
    preprocessed = folders.preprocessed / DATASET / "nnUNetPlans_2d"
    preprocessed.mkdir(parents=True, exist_ok=True)
    (preprocessed / "case.b2nd").touch()  # nnU-Net looks at its ending
    for fold in folds:
        trainer = trainer_class({**plans, "continue_training": False}, "2d", fold, DATASET_JSON, torch.device("cpu"))
        trainer.initialize()
        trainer.current_epoch = 6 + fold
        folder = Path(trainer.output_folder)
        trainer.save_checkpoint(str(folder / "checkpoint_final.pth"))
        (folder / "validation").mkdir()
        (folder / "validation" / "summary.json").write_text(json.dumps(SUMMARY))
        for name in ("progress.png", "debug.json"):
            (folder / name).write_bytes(b"made by nnU-Net")
    for name, content in (("plans", plans), ("dataset", DATASET_JSON), ("dataset_fingerprint", {})):
        (folder.parent / f"{name}.json").write_text(json.dumps(content))
    return folder.parent


def read_package(package: Path) -> Members:
    with zipfile.ZipFile(package) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def manifest_of(members: Members) -> tuple[str, dict[str, Any]]:
    (name,) = (name for name in members if name.endswith(MANIFEST))
    return name, json.loads(members[name])


def rewrite(
    package: Path, target: Path, change: Callable[[Members], object], *, links: bool = False, method: int = 0
) -> Path:
    """Write what a stranger could have made of a package."""
    members = read_package(package)
    change(members)
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.external_attr = (stat.S_IFLNK if links and name.endswith("plans.json") else stat.S_IFREG) << 16
            archive.writestr(info, content)
    return target


def replaced(**values: Any) -> Callable[[Members], None]:
    """Other values in the manifest."""

    def change(members: Members) -> None:
        name, manifest = manifest_of(members)
        members[name] = json.dumps({**manifest, **values}).encode()

    return change


def forged(suffix: str, content: bytes | Callable[[bytes], bytes]) -> Callable[[Members], None]:
    """Other content of a member, whose hash stands in the manifest; a new member if there is none."""

    def change(members: Members) -> None:
        manifest_name, manifest = manifest_of(members)
        folder = manifest_name.rpartition("/")[0]
        name = next((name for name in members if name.endswith(suffix)), f"{folder}/{suffix}")
        members[name] = content(members[name]) if callable(content) else content
        digest = hashlib.sha256(members[name]).hexdigest()
        replaced(sha256={**manifest["sha256"], name.removeprefix(f"{folder}/"): digest})(members)

    return change


def without(suffix: str) -> Callable[[Members], object]:
    return lambda members: members.pop(next(name for name in members if name.endswith(suffix)))


def with_member(name: str) -> Callable[[Members], object]:
    return lambda members: members.update({name: b"x"})


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return Path.touch, (self.witness,)
