"""The manifest of a package: what is in it, what made it and what it needs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_folders import Setup
from nnunet_pyconv.sharing.names import is_checkpoint, is_fold, is_plain, parse_model
from nnunet_pyconv.sharing.requirements import check_known

MANIFEST = "nnunet_pyconv_manifest.json"
FORMAT = 1

_CLASS = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"


@dataclass(frozen=True)
class Manifest:
    """What `nnunet_pyconv_manifest.json` holds; it lies in the model's folder, as all members do.

    Attributes:
        model: `DATASET/TRAINER__PLANS__CONFIGURATION`, the folder below `nnUNet_results`.
        folds: The folds, `0` to `4` or `all`.
        checkpoint: Name of the checkpoint of each fold.
        trainer_module: Module of the trainer class that nnU-Net looks for.
        network: Class of the network that the plans name.
        requires: What has to be installed, as requirements of Python packages.
        versions: What the package was made with.
        sha256: Hash of each member by its path in the model's folder; the manifest itself has none.
        format: Of the manifest.
    """

    model: str
    folds: tuple[str, ...]
    checkpoint: str
    trainer_module: str
    network: str
    requires: tuple[str, ...]
    versions: Mapping[str, str]
    sha256: Mapping[str, str]
    format: int = FORMAT

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @property
    def setup(self) -> Setup:
        """Trainer, plans and configuration."""
        return parse_model(self.model)[1]

    @property
    def from_plugin(self) -> bool:
        """Whether the trainer is one of this plugin's, so that nnU-Net needs `nnUNet_extTrainer` to find it."""
        return self.trainer_module.startswith("nnunet_pyconv.")

    def predict_command(self, *, after_a_stage: bool) -> str:
        """Return the command that predicts with the installed model, for a shell.

        Args:
            after_a_stage: Whether it is the second stage of a cascade, which needs predictions of the first.
        """
        dataset, setup = parse_model(self.model)
        command = ["nnUNetv2_predict", "-d", dataset, "-tr", setup.trainer, "-p", setup.plans, "-c"]
        command += [
            setup.configuration,
            "-f",
            *self.folds,
            "-chk",
            self.checkpoint,
            "-i",
            "IMAGES",
            "-o",
            "PREDICTIONS",
        ]
        if after_a_stage:
            command += ["-prev_stage_predictions", "PREVIOUS"]
        variable = 'nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)" ' if self.from_plugin else ""
        return variable + shlex.join(command)


def parse_manifest(content: Any, folder: str) -> Manifest:
    """Check what a manifest holds.

    Args:
        content: The JSON.
        folder: The folder of the package in which it lies.

    Raises:
        InputError: No manifest, one of a later format, or one of another folder.
    """
    if not isinstance(content, dict) or "format" not in content:
        raise InputError(f"{MANIFEST} has no format; expected what nnunet_pyconv share writes. Ask for it again")
    if content["format"] != FORMAT:
        raise InputError(
            f"{MANIFEST} has format {content['format']!r:.20} and this nnunet-pyconv reads {FORMAT}; the package needs "
            "another version: pip install --upgrade nnunet-pyconv"
        )
    _check_types(content)
    manifest = Manifest(**{**content, **{key: tuple(content[key]) for key in ("folds", "requires")}})
    if manifest.model != folder:
        raise InputError(
            f"{MANIFEST} in {folder!r} is of {manifest.model!r}; expected the same folder. Ask for the package again"
        )
    parse_model(manifest.model)
    for text in manifest.requires:
        check_known(text)
    names = [
        *((fold, is_fold(fold), "a fold, 0 to 4 or all") for fold in manifest.folds),
        (manifest.checkpoint, is_checkpoint(manifest.checkpoint), "a checkpoint's name"),
        (manifest.trainer_module, re.fullmatch(_CLASS, manifest.trainer_module, re.ASCII), "a module"),
        (manifest.network, re.fullmatch(_CLASS, manifest.network, re.ASCII), "a class"),
        *((name, is_plain(name), "a package's name") for name in manifest.versions),
        *((version, is_plain(version), "a version") for version in manifest.versions.values()),
        *(
            (digest, re.fullmatch(r"[0-9a-f]{64}", digest, re.ASCII), "a SHA-256")
            for digest in manifest.sha256.values()
        ),
    ]
    for name, is_good, expected in names:
        if not is_good:
            raise InputError(f"{MANIFEST} has {name!r:.100}; expected {expected}. Do not trust its source")
    if not manifest.folds or len(set(manifest.folds)) != len(manifest.folds):
        raise InputError(f"{MANIFEST} has the folds {', '.join(manifest.folds) or 'none'}; expected each once")
    return manifest


def _check_types(content: Mapping[str, Any]) -> None:
    expected = {field.name for field in fields(Manifest)}
    if differing := sorted(content.keys() ^ expected):
        raise InputError(f"{MANIFEST} lacks, or has besides, {differing!r:.300}; ask for the package again")
    texts = {key: [content[key]] for key in ("model", "checkpoint", "trainer_module", "network")}
    lists = {key: content[key] for key in ("folds", "requires")}
    mappings = {key: content[key] for key in ("versions", "sha256")}
    for key, value in (lists | mappings).items():
        if not isinstance(value, list if key in lists else dict):
            raise InputError(f"{MANIFEST} has {value!r:.100} as {key}; ask for the package again")
    for key, values in (texts | lists | {key: value.values() for key, value in mappings.items()}).items():
        for value in values:
            if not isinstance(value, str):
                raise InputError(f"{MANIFEST} has {value!r:.100} in {key}, which is no text; ask for the package again")
