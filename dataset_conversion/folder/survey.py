"""Looking through a folder before anything is written: what its images have in common, and which values labels have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_pyconv.dataset_conversion.folder.cases import label_rasters, read_image, with_label
from nnunet_pyconv.dataset_conversion.folder.label_coding import LabelCoding, ValueCoding, label_values
from nnunet_pyconv.dataset_conversion.folder.pairing import Pair
from nnunet_pyconv.dataset_conversion.parallel import several_at_a_time
from nnunet_pyconv.dataset_conversion.reading import ending, has_palette, read
from nnunet_pyconv.dataset_conversion.source_files import SHOWN
from nnunet_pyconv.errors import InputError

MANY_VALUES = 20  # more can't be classes
HOUNSFIELD_BELOW = -500  # only CT has such values as a rule


@dataclass(frozen=True)
class Look:
    """What one case is like.

    Attributes:
        num_channels: 3 of a picture in colours, those of a volume with four axes, otherwise 1.
        dtype: Type of the image's pixels.
        is_volume: Whether it is a volume, and no picture.
        least: The image's least value.
        values: Of its label images; empty where their coding is known.
        has_foreground: Whether its label images have something else than background.
    """

    num_channels: int
    dtype: str
    is_volume: bool
    least: float
    values: frozenset[float]
    has_foreground: bool


@dataclass(frozen=True)
class CommonKind:
    """How all images of a dataset are written.

    Attributes:
        num_channels: Of each image.
        file_ending: Of all files.
        channels: Names of the channels.
        remarks: What the user should know.
    """

    num_channels: int
    file_ending: str
    channels: tuple[str, ...]
    remarks: tuple[str, ...]


def numbered_by_index(pairs: Sequence[Pair], num_threads: int) -> bool:
    """Tell whether the label images number their classes by the indices of a palette with colours.

    It is decided for all together: an image may have no more than the grey ones of the classes' colours.

    Args:
        pairs: Their files.
        num_threads: Label images at a time.
    """
    with_palette = [path for pair in pairs for path in pair.labels if has_palette(path)]
    return bool(with_palette) and any(several_at_a_time(_has_coloured_palette, with_palette, num_threads, "palettes"))


def _has_coloured_palette(path: Path) -> bool:
    try:
        return not read(path).palette_is_grey
    except InputError:  # `look_through` says it, with what is wrong with others
        return False


def look_through(pairs: Sequence[Pair], coding: LabelCoding | None, num_threads: int) -> list[Look]:
    """Read all cases.

    Args:
        pairs: Their files.
        coding: Of the label images; None where it is to be found.
        num_threads: Cases at a time.

    Raises:
        InputError: What is wrong with the first few cases, and how many more there are.
    """

    def look(pair: Pair) -> Look | InputError:
        try:
            return _look_at(pair, coding)
        except InputError as error:
            return error

    looks, faults = [], []
    for result in several_at_a_time(look, pairs, num_threads, "looking"):
        if isinstance(result, InputError):
            faults.append(str(result))
        else:
            looks.append(result)
    if faults:
        rest = f"\n... and {len(faults) - SHOWN} more cases" if len(faults) > SHOWN else ""
        raise InputError("\n".join(faults[:SHOWN]) + rest)
    return looks


def _look_at(pair: Pair, coding: LabelCoding | None) -> Look:
    data = read_image(pair)
    values: set[float] = set()
    has_foreground = False
    if pair.labels and coding is not None:
        label = with_label(data, pair, coding).label
        has_foreground = label is not None and bool(label.any())
    elif pair.labels:
        for path, raster in label_rasters(pair, data, approximates=False):
            of_file = np.unique(label_values(raster, str(path)))
            if len(of_file) > MANY_VALUES:
                raise InputError(
                    f"label image {path} has {len(of_file)} values; expected 2: give --threshold where they come from "
                    "blurred edges, or --instances NAME where each object has its own value"
                )
            values |= set(of_file.tolist())
            has_foreground |= bool(of_file.any())
    first = data.images[0]
    is_volume = data.geometry is not None
    num_channels = len(data.images) if is_volume else 3 if first.ndim == 3 else 1
    least = min(float(image.min()) for image in data.images)
    return Look(num_channels, str(first.dtype), is_volume, least, frozenset(values), has_foreground)


def coding_of_values(values: set[float]) -> ValueCoding:
    """Return the coding of label images of two values.

    Args:
        values: That all label images have together.

    Raises:
        InputError: Others than 0 and one more: their classes need names.
    """
    others = sorted(values - {0})
    if len(others) == 1:
        return ValueCoding(("background", "foreground"), {0: 0, others[0]: 1})
    if not others:
        raise InputError("all label images are empty (0 everywhere); expected 0 and another value")
    shown = ", ".join(f"{value:g}" for value in sorted(values))
    named = " ".join(f"NAME={value:g}" for value in others)
    raise InputError(
        f"the label images have the values {shown}; expected 0 and one other. Name their classes, as in --labels "
        f"background=0 {named}, or give --instances NAME where each object has its own value"
    )


def common_kind(looks: Sequence[Look], pairs: Sequence[Pair], channels: tuple[str, ...] | None) -> CommonKind:
    """Decide how the images are written.

    Args:
        looks: At all cases, at least one.
        pairs: Their files.
        channels: Names of the channels that the user gives, or None.

    Raises:
        InputError: Pictures among volumes, volumes with different numbers of channels, or another number of names.
    """
    if len({look.is_volume for look in looks}) > 1:
        raise InputError("the images are pictures and volumes; expected one kind, convert them separately")
    counts = Counter(look.num_channels for look in looks)
    dtypes = {look.dtype for look in looks}
    remarks = []
    if len(dtypes) > 1:
        remarks.append(f"the images have different types of pixels: {', '.join(sorted(dtypes))}")
    num_channels = max(counts)
    if looks[0].is_volume:
        if len(counts) > 1:
            raise InputError(f"the volumes have {' or '.join(map(str, sorted(counts)))} channels; expected one number")
        default = ("image",) if num_channels == 1 else tuple(f"image {number}" for number in range(num_channels))
        endings = {ending(pair.image) for pair in pairs}
        file_ending = str(endings.pop()) if len(endings) == 1 and ".nii" not in endings else ".nii.gz"
    else:
        if len(counts) > 1:
            remarks.append(
                f"{counts[1]} of {len(looks)} images are grey; they get three equal channels, as the others have"
            )
        default = ("R", "G", "B") if num_channels == 3 else ("grey",)
        # readers reduce colours of 16 bits to 8
        in_png = dtypes <= {"uint8", "uint16"} and (num_channels == 1 or dtypes == {"uint8"})
        file_ending = ".png" if in_png else ".tif"
    if channels is not None and len(channels) != num_channels:
        raise InputError(
            f"--channels {' '.join(channels)}: the images have {num_channels} channels; expected as many names"
        )
    if channels is None and min(look.least for look in looks) < HOUNSFIELD_BELOW:
        remarks.append(
            f"the images have values below {HOUNSFIELD_BELOW}, as Hounsfield units: --channels CT makes nnU-Net "
            "normalise them as a CT"
        )
    return CommonKind(num_channels, file_ending, channels or default, tuple(remarks))
