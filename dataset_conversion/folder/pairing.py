"""Which label images belong to which image, by their names."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_pyconv.dataset_conversion.reading import ENDINGS, ending
from nnunet_pyconv.dataset_conversion.source_files import is_hidden, listing, require_folder
from nnunet_pyconv.errors import InputError

_LABEL_WORDS = r"masks?|labels?|segm?|segmentations?|gt|ground_?truth|truth|annotations?|manual|targets?"
_IMAGE_WORDS = r"images?|imgs?|raw|0000"  # 0000 is nnU-Net's first channel
_LABEL_SUFFIX = re.compile(rf"(?<=.)[ _.-](?:{_LABEL_WORDS})(?:[ _.-]?\d+)?$", re.IGNORECASE)
_LABEL_PREFIX = re.compile(rf"^(?:{_LABEL_WORDS})(?:[ _.-]+(?=.)|(?=\d))", re.IGNORECASE)
_IMAGE_SUFFIX = re.compile(rf"(?<=.)[ _.-](?:{_IMAGE_WORDS})$", re.IGNORECASE)
_IMAGE_PREFIX = re.compile(rf"^(?:{_IMAGE_WORDS})(?:[ _.-]+(?=.)|(?=\d))", re.IGNORECASE)
_ROLE_FOLDER = re.compile(rf"{_LABEL_WORDS}|{_IMAGE_WORDS}", re.IGNORECASE)
_LABEL_FOLDER = re.compile(_LABEL_WORDS, re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """An image and its label images.

    Attributes:
        name: nnU-Net's case identifier.
        image: Its file.
        labels: The files of its label images; several are merged, none is a case without label.
        by_index: Whether its label images number their classes by the indices of a palette, whose colours, in some
            label image of the dataset, are not grey.
    """

    name: str
    image: Path
    labels: tuple[Path, ...]
    by_index: bool = False


@dataclass(frozen=True)
class Pairing:
    """What belongs together.

    Attributes:
        pairs: By name.
        remarks: How they were found, for the user to check.
    """

    pairs: list[Pair]
    remarks: tuple[str, ...] = ()


def pair_by_name(
    images: Path, labels: Path, flags: tuple[str, str] = ("-i", "-l"), others: Sequence[Path] = ()
) -> Pairing:
    """Pair the images of a folder with the label images of another, or of the same.

    A label image has the name of its image, or that with a word such as `_mask`, `_segmentation`, `_GT` or `mask_`
    and perhaps a number (then several label images belong to one image). It may also lie in a folder with the name of
    the image. Where such words do not help, what all names of a side begin and end with is left away.

    Args:
        images: Folder of the images; subfolders count, their names become part of the cases', but not one that is
            itself given: `labels`, or one of the others.
        labels: Folder of the label images; its subfolders likewise.
        flags: The user's names of the two, for messages.
        others: Folders of other images and label images, those of the test.

    Raises:
        InputError: Folders without files, files without partner, or names that stand twice.
    """
    require_folder(images, flags[0])
    require_folder(labels, flags[1])
    given = [images, labels, *others]
    image_files, label_files = _files(images, flags[0], given), _files(labels, flags[1], given)
    if images.resolve() == labels.resolve():
        image_files, label_files = _told_apart(image_files, images)
    by_key = _unique(image_files)
    affixes: Counter[str] = Counter()
    found: dict[Path, Path] = {}
    for path, key in label_files.items():
        for candidate, affix in _candidates(key):
            if candidate in by_key:
                found[path] = by_key[candidate]
                affixes[affix] += 1
                break
    remark = ", ".join(f"{affix!r} ({count})" for affix, count in affixes.most_common() if affix)
    remarks = [f"label images have in addition to their image's name: {remark}"] if remark else []
    if len(found) < len(label_files) or len(set(found.values())) < len(image_files):
        by_rest = _paired_by_what_differs(image_files, label_files)
        if by_rest is None:
            _raise_unpaired(image_files, label_files, found, images, labels)
        else:
            found, remarks = (
                by_rest,
                ["label images were found by the part in which the names differ; check the preview"],
            )
    labels_of: dict[Path, list[Path]] = {}
    for path, image in found.items():
        labels_of.setdefault(image, []).append(path)
    if several := [path.name for path, masks in labels_of.items() if len(masks) > 1]:
        remarks.append(f"{listing(several)}: several label images each, which are merged")
    names = _case_names(image_files)
    pairs = [Pair(names[image], image, tuple(masks)) for image, masks in labels_of.items()]
    return Pairing(sorted(pairs, key=lambda pair: pair.name), tuple(remarks))


def without_labels(images: Path, flag: str, flag_of_labels: str, others: Sequence[Path] = ()) -> Pairing:
    """Return the images of a folder as cases without labels.

    Args:
        images: The folder.
        flag: The user's name of it, for messages.
        flag_of_labels: The user's name of the folder of label images, which isn't given.
        others: Folders of other images and label images, which don't count where they lie in it.

    Raises:
        InputError: A folder without images, or with label images, or names that stand twice.
    """
    require_folder(images, flag)
    files = _files(images, flag, [images, *others])
    if labels := [path for path, is_label in _which_are_labels(files, images).items() if is_label]:
        raise InputError(
            f"{flag} {images} has label images ({listing(path.name for path in labels)}); give {flag_of_labels} "
            f"{images} too, or put them elsewhere"
        )
    _unique(files)
    return Pairing(sorted((Pair(name, path, ()) for path, name in _case_names(files).items()), key=lambda p: p.name))


def _files(folder: Path, flag: str, given: Sequence[Path]) -> dict[Path, str]:
    """Find the files of a folder and below, each with its key: its relative path without ending and role folders.

    Folders below that are themselves given are left out.
    """
    files: dict[Path, str] = {}
    apart = {path.resolve() for path in given}
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(
            name for name in folders if not is_hidden(Path(name)) and Path(root, name).resolve() not in apart
        )
        for name in sorted(names):
            path = Path(root, name)
            known = ending(path)
            if known is not None and not is_hidden(path):
                parts = [part for part in path.relative_to(folder).parts[:-1] if not _ROLE_FOLDER.fullmatch(part)]
                stem = name[: -len(known)]
                # id/images/id.png is the image id
                files[path] = "/".join([*(part for part in parts if part != stem), stem])
    if not files:
        raise InputError(f"{flag} {folder} has no images; expected files that end in {', '.join(ENDINGS)}")
    return files


def _told_apart(files: Mapping[Path, str], folder: Path) -> tuple[dict[Path, str], dict[Path, str]]:
    """Tell images and label images of one folder apart: those whose name is another's with a word for labels."""
    is_label = _which_are_labels(files, folder)
    if not any(is_label.values()):
        raise InputError(
            "-i and -l are one folder, and no name in it has a word such as _mask added to another's; put images and "
            "label images into folders of their own"
        )
    images = {path: key for path, key in files.items() if not is_label[path]}
    return images, {path: key for path, key in files.items() if is_label[path]}


def _which_are_labels(files: Mapping[Path, str], folder: Path) -> dict[Path, bool]:
    keys = set(files.values())
    return {
        path: any(_LABEL_FOLDER.fullmatch(part) for part in path.relative_to(folder).parts[:-1])
        or any(affix and candidate in keys for candidate, affix in _candidates(key))
        for path, key in files.items()
    }


def _candidates(key: str) -> Iterator[tuple[str, str]]:
    """Yield the images' keys that a label image's key may stand for, and what it has in addition."""
    yield key, ""
    folder, slash, stem = key.rpartition("/")
    for pattern in (_LABEL_SUFFIX, _LABEL_PREFIX):
        if match := pattern.search(stem):
            rest = stem[: match.start()] + stem[match.end() :]
            yield folder + slash + rest, re.sub(r"\d+$", "N", match.group())
    if folder:
        yield folder, "folders of their own"


def _unique(files: Mapping[Path, str]) -> dict[str, Path]:
    """Return the files by key, and by key without a word for images."""
    by_key: dict[str, Path] = {}
    for path, key in files.items():
        if key in by_key:
            raise InputError(f"{by_key[key]} and {path} have one name; expected one image of that name, remove one")
        by_key[key] = path
    for path, key in files.items():
        folder, slash, stem = key.rpartition("/")
        for pattern in (_IMAGE_SUFFIX, _IMAGE_PREFIX):
            by_key.setdefault(folder + slash + pattern.sub("", stem), path)
    return by_key


def _case_names(files: Mapping[Path, str]) -> dict[Path, str]:
    names: dict[str, Path] = {}
    # nnU-Net's first channel, unless it is the first of frames that are counted
    channel = "_0000" if all(key.endswith("_0000") for key in files.values()) else ""
    for path, key in files.items():
        name = key.replace("/", "_").removesuffix(channel)
        if name in names:
            raise InputError(f"{names[name]} and {path} both become the case {name}; rename one of them")
        names[name] = path
    return {path: name for name, path in names.items()}


def _paired_by_what_differs(images: Mapping[Path, str], labels: Mapping[Path, str]) -> dict[Path, Path] | None:
    """Pair names whose beginnings and ends are those of all on their side; None where that pairs not all of them."""
    if len(images) < 2 or len(images) != len(labels):
        return None
    by_rest = {rest: path for path, rest in _what_differs(images).items()}
    rests = _what_differs(labels)
    if len(by_rest) < len(images) or set(rests.values()) != by_rest.keys():
        return None
    return {path: by_rest[rest] for path, rest in rests.items()}


def _what_differs(files: Mapping[Path, str]) -> dict[Path, str]:
    start = _common_start(list(files.values()))
    end = _common_start([key[start:][::-1] for key in files.values()])
    return {path: key[start : len(key) - end] for path, key in files.items()}


def _common_start(texts: Sequence[str]) -> int:
    """Count the characters with which all texts begin."""
    low, high = min(texts), max(texts)
    return next((i for i, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), len(low))


def _raise_unpaired(
    image_files: Mapping[Path, str],
    label_files: Mapping[Path, str],
    found: Mapping[Path, Path],
    images: Path,
    labels: Path,
) -> None:
    with_label = set(found.values())
    faults = [
        f"{listing(path.relative_to(folder) for path in alone)} in {folder} without {missing}"
        for alone, folder, missing in (
            ([path for path in image_files if path not in with_label], images, f"a label image in {labels}"),
            ([path for path in label_files if path not in found], labels, f"an image in {images}"),
        )
        if alone
    ]
    raise InputError(
        f"{'; '.join(faults)}. Expected an image and at least one label image of each name; a label image may have a "
        "word such as _mask, _segmentation or _GT added"
    )
