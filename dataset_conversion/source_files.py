"""Finding the files of a dataset in what was downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from nnunet_pyconv.dataset_conversion.reading import PICTURE_ENDINGS, ending
from nnunet_pyconv.errors import InputError

Key = TypeVar("Key", str, int)

# how many names a message lists before it says "..."
SHOWN = 5


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is a companion that macOS or others leave, as `._3.png` and `__MACOSX` are."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def require_folder(source: Path, flag: str = "-i") -> None:
    """Raise an InputError where a source is not a folder."""
    if not source.is_dir():
        what = "is a file" if source.exists() else "does not exist"
        raise InputError(f"source {source} {what}; give the folder of the data with {flag}")


def find_root(source: Path, holds_data: Callable[[Path], bool], missing: str, dataset: str) -> Path:
    """Return the folder that holds the data: the source, or the one folder in it that does.

    Archives often unpack into a folder of their own, so both may be given.

    Args:
        source: What the user gave.
        holds_data: Whether a folder does.
        missing: What the source does not have, for messages.
        dataset: How the dataset is called, for messages.

    Raises:
        InputError: A source that is no folder, or that holds the data not at all or several times.
    """
    require_folder(source)
    if holds_data(source):
        return source
    roots = [path for path in sorted(source.iterdir()) if path.is_dir() and not is_hidden(path) and holds_data(path)]
    if not roots:
        raise InputError(f"{source} has {missing}; give the folder that holds the {dataset} data, unpacked, with -i")
    if len(roots) > 1:
        raise InputError(f"{source} holds the {dataset} data {len(roots)} times ({listing(roots)}); give one with -i")
    return roots[0]


def inner_folder(folder: Path) -> Path:
    """Return the folder of the same name in a folder, or itself: unpacking `a.zip` in a folder `a` gives `a/a`."""
    inner = folder / folder.name
    return inner if inner.is_dir() else folder


def files_by_key(folder: Path, key: Callable[[Path], Key | None], what: str) -> dict[Key, Path]:
    """Find the pictures of a folder by a key that belongs to one file only.

    Args:
        folder: Where to look; not below it.
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
        if is_hidden(path) or ending(path) not in PICTURE_ENDINGS or (k := key(path)) is None:
            continue
        if k in files:
            kind = "number" if isinstance(k, int) else "name"
            raise InputError(f"{files[k]} and {path} both have the {kind} {k}; remove the one too many")
        files[k] = path
    if not files:
        patterns = ", ".join(f"*{known}" for known in PICTURE_ENDINGS)
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
    """Join the first few of several things, for a message."""
    things = [str(thing) for thing in things]
    return ", ".join(things[:SHOWN]) + (f", ... ({len(things)} in all)" if len(things) > SHOWN else "")
