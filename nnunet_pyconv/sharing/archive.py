"""Reading a zip file that somebody else made: nothing may leave its folder, and nothing may be unlisted."""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tqdm import tqdm

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.sharing.manifest import MANIFEST, Manifest, read_manifest

CHUNK = 1 << 20
"""Bytes to read at a time."""


@contextmanager
def open_package(file: Path) -> Iterator[zipfile.ZipFile]:
    """Open a package.

    Raises:
        InputError: No zip file, or a damaged one, also when that shows while it is read; a disk that fails the block.
    """
    try:
        with zipfile.ZipFile(file) as package:
            yield package
    except FileNotFoundError as error:
        raise InputError(f"there is no file {file}; give a package that nnunet_pyconv share wrote") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no zip file, or is damaged ({error}); copy it again") from error
    except OSError as error:
        raise InputError(f"can't install {file}: {error}; nothing of it was written") from error


def check_package(package: zipfile.ZipFile) -> Manifest:
    """Check names and hashes of all members; nothing is written.

    Raises:
        InputError: A name that leaves the folder, a link, no manifest, members that it doesn't list or that are
            missing, or content that isn't what it says.
    """
    for member in package.infolist():
        _check_name(member)
    names = package.namelist()
    if len(set(map(str.casefold, names))) != len(names):
        raise InputError("the package has two members of one name; ask for it again")
    manifests = [name for name in names if name.rpartition("/")[2] == MANIFEST]
    if len(manifests) != 1:
        raise InputError(
            f"the package has {len(manifests)} files {MANIFEST}; expected one, as nnunet_pyconv share writes it. "
            "What nnU-Net exported is installed by nnUNetv2_install_pretrained_model_from_zip"
        )
    folder = manifests[0].removesuffix(f"/{MANIFEST}")
    manifest = read_manifest(package.read(manifests[0]), folder)
    listed, there = {f"{folder}/{name}" for name in manifest.sha256}, set(names) - {manifests[0]}
    for problem, members in (("lacks", listed - there), ("has unlisted", there - listed)):
        if members:
            raise InputError(f"the package {problem} {', '.join(sorted(members))}; ask for it again")
    for name, expected in tqdm(manifest.sha256.items(), desc="checking", unit="file", disable=None):
        with package.open(f"{folder}/{name}") as stream:
            found = _sha256(stream)
        if found != expected:
            raise InputError(
                f"{name} was changed or damaged: its SHA-256 is {found}, and the manifest has {expected}; copy the "
                "package again"
            )
    return manifest


def _check_name(member: zipfile.ZipInfo) -> None:
    name = member.orig_filename
    parts = name.split("/")
    if name.startswith("/") or re.search(r"[\\:\0]", name) or not set(parts).isdisjoint(("", ".", "..")):
        raise InputError(
            f"the package has a member {name!r}; expected plain paths below nnUNet_results. Do not trust its source"
        )
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise InputError(f"the package's member {name!r} is a link or no plain file; do not trust its source")
    if member.flag_bits & 1:
        raise InputError(f"the package's member {name!r} is encrypted; expected none, as nnunet_pyconv share writes")


def _sha256(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
