"""Finding the files of a dataset in what was downloaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nnunet_pyconv.errors import InputError

Key = TypeVar("Key", str, int)

# how many names a message lists before it says "..."
SHOWN = 5


def require_folder(source: Path) -> None:
    """Raise an InputError where the source is not a folder."""
    if not source.is_dir():
        what = "is a file" if source.exists() else "does not exist"
        raise InputError(f"source {source} {what}; give the folder of the downloaded data with -i")


def find_root(source: Path, names: Collection[str], dataset: str) -> Path:
    """Return the folder that holds all of `names`: the source, or the one folder in it that does.

    Archives often unpack into a folder of their own, so both may be given.

    Args:
        source: What the user gave.
        names: Folders of which all have to be there.
        dataset: How the dataset is called, for messages.

    Raises:
        InputError: A source that is no folder, or in which they are missing or stand several times.
    """
    require_folder(source)
    candidates = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
    roots = [folder for folder in candidates if all((folder / name).is_dir() for name in names)]
    if not roots:
        raise InputError(
            f"{source} has no folder {' and '.join(names)}; give the folder that holds the {dataset} data, unpacked, "
            "with -i"
        )
    if source not in roots and len(roots) > 1:
        raise InputError(f"{source} holds the {dataset} data {len(roots)} times ({listing(roots)}); give one with -i")
    return roots[0]


def files_by_key(folder: Path, endings: Sequence[str], key: Callable[[Path], Key | None], what: str) -> dict[Key, Path]:
    """The files of a folder by a key that belongs to one file only.

    Args:
        folder: Where to look; not below it.
        endings: `.png`, `.tif`, ... in small letters; files may have capital ones.
        key: Gives the key of a file, or None for a file to pass over.
        what: What the files are, for messages: `image`, `mask`, `slice`.

    Returns:
        The files in the order of their keys, at least one.

    Raises:
        InputError: No such folder, two files with one key, or none.
    """
    if not folder.is_dir():
        fault = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {fault}; expected a folder of this dataset: unpack the data again")
    files: dict[Key, Path] = {}
    for path in sorted(folder.iterdir()):
        # macOS leaves hidden companions such as ._3.png
        if path.name.startswith(".") or path.suffix.lower() not in endings or (k := key(path)) is None:
            continue
        if k in files:
            kind = "number" if isinstance(k, int) else "name"
            raise InputError(f"{files[k]} and {path} both have the {kind} {k}; remove the one too many")
        files[k] = path
    if not files:
        patterns = " or ".join(f"*{ending}" for ending in endings)
        raise InputError(f"{folder} has no {what} ({patterns}) of this dataset; check that the data are whole")
    return dict(sorted(files.items()))


def require_pairs(images: Mapping[Any, Path], labels: Mapping[Any, Path]) -> None:
    """Raise an InputError where an image has no label or a label no image, by their keys."""
    for these, others, missing in ((images, labels, "label"), (labels, images, "image")):
        alone = [path for key, path in these.items() if key not in others]
        if alone:
            elsewhere = next(iter(others.values())).parent
            raise InputError(
                f"{listing(path.name for path in alone)} in {alone[0].parent} has no {missing} in {elsewhere}; "
                "expected a label for each image and an image for each label"
            )


def listing(things: Any) -> str:
    """The first few of several things, for a message."""
    things = [str(thing) for thing in things]
    return ", ".join(things[:SHOWN]) + (f", ... ({len(things)} in all)" if len(things) > SHOWN else "")
