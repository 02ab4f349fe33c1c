"""Reading a zip file that somebody else made: nothing leaves its folder, is unlisted, or grows without bounds."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.sharing.manifest import MANIFEST, Manifest, parse_manifest
from nnunet_pyconv.sharing.members import possible_members, required_members

CHUNK = 1 << 20
"""Bytes to read at a time."""

MAX_MEMBERS = 1000
MAX_RATIO = 50
"""How much larger a package may become than its file; weights hardly shrink, and JSON tenfold."""
MAX_MANIFEST = 1 << 20
MAX_JSON = 1 << 24
"""Bytes of a JSON file; Python needs up to thirty times as many to hold it."""
MAX_SUMMARY = 1 << 27
"""Bytes of a `summary.json`, which has a line for each case and class, and which installing doesn't read."""
MAX_DEPTH = 100
"""Of lists and objects within each other in a JSON file."""


@dataclass(frozen=True)
class Package:
    """An open package, all of whose members are what its manifest says.

    Attributes:
        archive: The zip file.
        manifest: Its manifest.
    """

    archive: zipfile.ZipFile
    manifest: Manifest

    @property
    def size(self) -> int:
        """Bytes of all members together."""
        return sum(member.file_size for member in self.archive.infolist())

    def json(self, name: str) -> Any:
        """Read a JSON file of the model's folder.

        Raises:
            InputError: No JSON.
        """
        return _read_json(self.archive, f"{self.manifest.model}/{name}", MAX_JSON)

    def copy(self, name: str, folder: Path) -> None:
        """Copy a file of the model's folder into another folder."""
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as copy:
            for chunk in _chunks(self.archive, f"{self.manifest.model}/{name}"):
                copy.write(chunk)


@contextmanager
def open_package(file: Path) -> Iterator[Package]:
    """Open a package and check it; nothing is written.

    Raises:
        InputError: No zip file, or a damaged one; a name that leaves the folder, a link, too many or too large members;
            no manifest, members that it doesn't list or that are missing, or content that isn't what it says.
    """
    if not file.is_file():
        raise InputError(f"{file} is no file; give a package that nnunet_pyconv share wrote")
    try:
        archive = zipfile.ZipFile(file)
    except PermissionError as error:
        raise InputError(f"can't read {file}: {error.strerror}") from error
    except Exception as error:  # whatever damage makes zipfile raise
        raise InputError(f"{file} is no zip file, or is damaged ({error!r:.100}); copy it again") from error
    with archive:
        yield Package(archive, _check(archive, file.stat().st_size))


def _check(archive: zipfile.ZipFile, size: int) -> Manifest:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_RATIO * size:
        raise InputError(
            f"the package would unpack to {len(members)} files with {sum(member.file_size for member in members):,} "
            f"bytes, from {size:,}; expected at most {MAX_MEMBERS}, and {MAX_RATIO} times its size. Do not trust its "
            "source"
        )
    for member in members:
        _check_member(member)
    names = archive.namelist()
    if len(set(map(str.casefold, names))) != len(names):
        raise InputError("the package has two members of one name; ask for it again")
    manifests = [name for name in names if name.rpartition("/")[2] == MANIFEST]
    if len(manifests) != 1:
        raise InputError(
            f"the package has {len(manifests)} files {MANIFEST}; expected one, as nnunet_pyconv share writes it. "
            "What nnU-Net exported is installed by nnUNetv2_install_pretrained_model_from_zip"
        )
    folder = manifests[0].removesuffix(f"/{MANIFEST}")
    manifest = parse_manifest(_read_json(archive, manifests[0], MAX_MANIFEST), folder)
    _check_members({name.removeprefix(f"{folder}/") for name in names if name != manifests[0]}, manifest)
    for name, expected in tqdm(manifest.sha256.items(), desc="checking", unit="file", disable=None):
        digest = hashlib.sha256()
        for chunk in _chunks(archive, f"{folder}/{name}"):
            digest.update(chunk)
        if digest.hexdigest() != expected:
            raise InputError(
                f"{name} was changed or damaged: its SHA-256 is {digest.hexdigest()}, and the manifest has {expected}; "
                "copy the package again"
            )
    for name in manifest.sha256:
        if name.endswith(".json"):
            limit = MAX_SUMMARY if name.endswith("summary.json") else MAX_JSON
            _read_within_limits(archive, f"{folder}/{name}", limit)
    return manifest


def _check_members(found: set[str], manifest: Manifest) -> None:
    listed, folds, checkpoint = set(manifest.sha256), manifest.folds, manifest.checkpoint
    for problem, members in (
        ("lacks", (listed | set(required_members(folds, checkpoint))) - found),
        ("has unlisted", found - listed),
        ("has members that no model has,", listed - set(possible_members(folds, checkpoint))),
    ):
        if members:
            raise InputError(f"the package {problem} {', '.join(map(repr, sorted(members))):.500}; ask for it again")


def _check_member(member: zipfile.ZipInfo) -> None:
    name = member.orig_filename
    plain = name.isprintable() and not re.search(r"[\\:]", name)
    if not plain or any(part in ("", ".", "..") or part.startswith("-") for part in name.split("/")):
        raise InputError(
            f"the package has a member {name!r:.200}; expected plain paths below nnUNet_results. Do not trust its "
            "source"
        )
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise InputError(f"the package's member {name!r} is a link or no plain file; do not trust its source")
    if member.flag_bits & 1:
        raise InputError(f"the package's member {name!r} is encrypted; expected none, as nnunet_pyconv share writes")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(
            f"the package's member {name!r} is compressed by method {member.compress_type}; expected deflate, as "
            "nnunet_pyconv share writes"
        )


def _chunks(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    try:
        with archive.open(name) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk
    except Exception as error:  # whatever damage makes zipfile, zlib and the disk raise
        raise InputError(f"{name} in the package is damaged ({error!r:.100}); copy the package again") from error


def _read_json(archive: zipfile.ZipFile, name: str, limit: int) -> Any:
    try:
        return json.loads(_read_within_limits(archive, name, limit))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} is damaged ({error!r:.100}); ask for the package again") from error


def _read_within_limits(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Read a JSON file that is neither large nor deeply nested, which takes a reader's memory or makes it fail."""
    size = archive.getinfo(name).file_size
    if size > limit:
        raise InputError(
            f"{name} has {size:,} bytes; expected at most {limit:,}, which can't fill the memory of a reader. Share "
            "without it, and do not trust a package that has it"
        )
    content = b"".join(_chunks(archive, name))
    outside_strings = b"".join(re.sub(rb"\\.", b"", content, flags=re.DOTALL).split(b'"')[::2])
    characters = np.frombuffer(outside_strings, np.uint8)
    depths = np.cumsum(np.isin(characters, [*b"[{"]).astype(int) - np.isin(characters, [*b"]}"]))
    if depths.max(initial=0) > MAX_DEPTH:
        raise InputError(
            f"{name} has more than {MAX_DEPTH} lists and objects within each other; do not trust the package's source"
        )
    return content
