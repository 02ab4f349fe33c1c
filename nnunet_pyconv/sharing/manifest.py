"""The manifest of a package: what is in it, what made it and what it needs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from packaging.requirements import Requirement

from nnunet_pyconv.errors import InputError

MANIFEST = "nnunet_pyconv_manifest.json"
FORMAT = 1

_NAME = r"[A-Za-z0-9][\w.+-]*?"
MODEL = re.compile(rf"(?P<dataset>Dataset\d{{3,}}_[\w.+-]+)/(?P<tr>{_NAME})__(?P<p>{_NAME})__(?P<c>{_NAME})", re.ASCII)
"""A model's folder below `nnUNet_results`, as nnU-Net names it."""


@dataclass(frozen=True)
class Manifest:
    """What `nnunet_pyconv_manifest.json` holds; it lies in the model's folder, as all members do.

    Attributes:
        model: `DATASET/TRAINER__PLANS__CONFIGURATION`, the folder below `nnUNet_results`.
        folds: The folds, `0` to `4` or `all`.
        checkpoint: Name of the checkpoint of each fold.
        trainer: Name and module of the trainer class that nnU-Net looks for.
        network: Class of the network that the plans name.
        requires: What has to be installed, as requirements of Python packages.
        versions: What the package was made with.
        sha256: Hash of each member by its path in the model's folder; the manifest itself has none.
        format: Of the manifest.
    """

    model: str
    folds: tuple[str, ...]
    checkpoint: str
    trainer: Mapping[str, str]
    network: str
    requires: tuple[str, ...]
    versions: Mapping[str, str]
    sha256: Mapping[str, str]
    format: int = FORMAT

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @property
    def from_plugin(self) -> bool:
        """Whether the trainer is one of this plugin's, so that nnU-Net needs `nnUNet_extTrainer` to find it."""
        return self.trainer["module"].startswith("nnunet_pyconv.")

    @property
    def predict_command(self) -> str:
        """The command that predicts with the installed model."""
        name = MODEL.fullmatch(self.model)
        assert name is not None  # export and read_manifest see to it
        command = (
            f"nnUNetv2_predict -d {name['dataset']} -tr {name['tr']} -p {name['p']} -c {name['c']} "
            f"-f {' '.join(self.folds)} -chk {self.checkpoint} -i IMAGES -o PREDICTIONS"
        )
        return f'nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)" {command}' if self.from_plugin else command


def read_manifest(text: bytes, folder: str) -> Manifest:
    """Read a manifest.

    Args:
        text: Content of the file.
        folder: The folder of the package in which it lies.

    Raises:
        InputError: No manifest, one of a later format, or one of another folder.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        written_as = content["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(error) from error
    if written_as != FORMAT:
        raise InputError(
            f"{MANIFEST} has format {written_as!r} and this nnunet-pyconv reads {FORMAT}; the package needs another "
            "version: pip install --upgrade nnunet-pyconv"
        )
    try:
        manifest = _parse(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(error) from error
    if manifest.model != folder or MODEL.fullmatch(folder) is None:
        raise InputError(
            f"{MANIFEST} in {folder} is of {manifest.model}; expected the same folder, named "
            "DatasetNNN_NAME/TRAINER__PLANS__CONFIGURATION; ask for the package again"
        )
    return manifest


def _parse(content: dict[str, Any]) -> Manifest:
    manifest = Manifest(**{**content, **{key: tuple(content[key]) for key in ("folds", "requires")}})
    for requirement in manifest.requires:
        Requirement(requirement)  # InvalidRequirement is a ValueError
    for name in (*manifest.folds, manifest.checkpoint, manifest.trainer["module"]):
        if not re.fullmatch(r"[\w.+-]+", name, re.ASCII):  # they enter the command that a user is told to run
            raise ValueError(f"{name!r} is no plain name")
    for name, digest in manifest.sha256.items():
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError(f"{digest!r} of {name} is no SHA-256")
    return manifest


def _damaged(error: Exception) -> InputError:
    return InputError(f"{MANIFEST} is damaged ({error!r}); ask for the package again")
