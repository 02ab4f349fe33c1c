"""Reading a model file as data: a zip archive of which nothing is executed and nothing is written to disk."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nnunet_pyconv.runtime.description import Description, read_description
from nnunet_pyconv.runtime.errors import InputError
from nnunet_pyconv.runtime.onnx_check import check_onnx

DESCRIPTION = "model.json"
PLANS = "plans.json"
DATASET = "dataset.json"
MODEL_CARD = "MODEL_CARD.md"

LARGEST_TEXT_BYTES = 50 << 20
LARGEST_NETWORK_BYTES = 2 << 30
"""A protocol buffer, which an ONNX file is, can't be larger."""
LARGEST_RATIO = 100
"""Weights shrink by a tenth and text by a tenfold; what unpacks to more than this is made to fill the memory."""


@dataclass(frozen=True)
class ModelFile:
    """A model file whose description has been read and checked.

    Attributes:
        path: The file.
        description: Of its model.
    """

    path: Path
    description: Description

    @classmethod
    def open(cls, path: str | Path) -> ModelFile:
        """Read the description of a model file.

        Raises:
            InputError: No model file, a damaged one, one of a newer schema, or an archive that is made to do harm.
        """
        path = Path(path)
        with _Archive(path) as archive:
            for member in archive.infolist():
                _check_member(member, path)
            if DESCRIPTION not in archive.namelist():
                raise InputError(
                    f"{path} is a zip file without {DESCRIPTION}; give a file that nnunet_pyconv export wrote"
                )
            description = read_description(_read(archive, DESCRIPTION, path, LARGEST_TEXT_BYTES), str(path))
        return cls(path, description)

    def network(self, name: str) -> bytes:
        """Read one of the ONNX files.

        Raises:
            InputError: A wrong hash, weights outside of the file, or operators that are not ONNX's own.
        """
        content = self._checked(name, LARGEST_NETWORK_BYTES)
        check_onnx(content, f"{self.path}: {name}")
        return content

    @cached_property
    def plans(self) -> dict[str, Any]:
        """nnU-Net's plans, written beside predictions as nnU-Net does."""
        return self._json(PLANS)

    @cached_property
    def dataset_json(self) -> dict[str, Any]:
        """nnU-Net's `dataset.json`, written beside predictions as nnU-Net does."""
        return self._json(DATASET)

    @property
    def model_card(self) -> str:
        """The model card, Markdown."""
        return self._checked(MODEL_CARD, LARGEST_TEXT_BYTES).decode("utf-8", errors="replace")

    def _json(self, name: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self._checked(name, LARGEST_TEXT_BYTES))
        except ValueError as error:
            raise InputError(f"{self.path} has a damaged {name} ({error}); ask for it again") from error
        return content

    def _checked(self, name: str, largest_bytes: int) -> bytes:
        expected = self.description.sha256.get(name)
        with _Archive(self.path) as archive:
            if expected is None or name not in archive.namelist():
                raise InputError(f"{self.path} lacks {name} or its hash; export the model again, or ask for it again")
            content = _read(archive, name, self.path, largest_bytes)
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise InputError(
                f"{self.path}: {name} was changed or damaged: its SHA-256 is {found}, and {DESCRIPTION} has "
                f"{expected}; copy the file again"
            )
        return content


class _Archive(zipfile.ZipFile):
    """A zip file whose damage is an InputError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            super().__init__(path)
        except FileNotFoundError as error:
            raise InputError(f"there is no file {path}; give a model that nnunet_pyconv export wrote") from error
        except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
            raise InputError(
                f"can't read {path}: {error.strerror}; give a model that nnunet_pyconv export wrote"
            ) from error
        except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError) as error:
            raise InputError(f"{path} is no model file, or is damaged ({error}); copy it again") from error


def _check_member(member: zipfile.ZipInfo, path: Path) -> None:
    name = member.orig_filename
    if name.startswith("/") or re.search(r"[\\:\0]", name) or not set(name.split("/")[:-1]).isdisjoint(("", ".", "..")):
        raise InputError(f"{path} has a member {name!r}; expected plain paths. Do not trust its source")
    if member.flag_bits & 1:
        raise InputError(f"{path} has an encrypted member {name!r}; expected none. Do not trust its source")
    if member.file_size > LARGEST_RATIO * member.compress_size + (1 << 20):
        raise InputError(
            f"{path}: {name} would unpack from {member.compress_size:,} to {member.file_size:,} bytes; no model does. "
            "Do not trust its source"
        )


def _read(archive: zipfile.ZipFile, name: str, path: Path, largest_bytes: int) -> bytes:
    size = archive.getinfo(name).file_size
    if size > largest_bytes:
        raise InputError(f"{path}: {name} has {size:,} bytes; expected at most {largest_bytes:,}")
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path} is damaged at {name} ({error}); copy it again") from error
