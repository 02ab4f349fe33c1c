"""What the values or colours of label images mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv.dataset_conversion.reading import Array, Colour, Label, Raster, hex_of, to_grey
from nnunet_pyconv.errors import InputError

NEARLY_GREY = 32  # how far the channels of a compressed grey picture may lie apart, of 255


@dataclass(frozen=True)
class EncodedLabel:
    """A label image in nnU-Net's numbers.

    Attributes:
        label: `(Y, X)` or `(Z, Y, X)` of 0, 1, ...
        approximated: How many pixels had a value that no class has.
    """

    label: Label
    approximated: int = 0


class LabelCoding(Protocol):
    """How label images become nnU-Net's."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels 0, 1, ..."""

    @property
    def approximates(self) -> bool:
        """Whether values that no class has are allowed, as compressed label images have them."""

    def encode(self, raster: Raster, source: str) -> EncodedLabel:
        """Turn a label image into nnU-Net's numbers.

        Args:
            raster: The label image.
            source: Where it comes from, for messages.

        Raises:
            InputError: Values or colours that have no class.
        """


@dataclass(frozen=True)
class ValueCoding:
    """Each value is a class.

    Attributes:
        classes: Names of the labels 0, 1, ...
        label_of_value: The label of each value.
    """

    classes: tuple[str, ...]
    label_of_value: Mapping[float, int]
    approximates = False

    def encode(self, raster: Raster, source: str) -> EncodedLabel:
        """See `LabelCoding`."""
        values = label_values(raster, source)
        label = np.zeros(values.shape, np.uint8)
        known = np.zeros(values.shape, bool)
        for value, number in self.label_of_value.items():
            here = values == value
            label[here] = number
            known |= here
        if not known.all():
            raise InputError(
                f"{source} has {_of_all(~known)} of values that have no class ({_some(np.unique(values[~known]))}); "
                f"known are {_some(np.array(list(self.label_of_value)))}: name all of them with --labels, or, where "
                "they come from blurred edges or JPEG, give --threshold"
            )
        return EncodedLabel(label)


@dataclass(frozen=True)
class ColourCoding:
    """Each colour is a class.

    Attributes:
        classes: Names of the labels 0, 1, ...
        label_of_colour: The label of each colour, in 8 bits.
        approximates: Whether other colours take the class of the nearest, instead of an error.
    """

    classes: tuple[str, ...]
    label_of_colour: Mapping[Colour, int]
    approximates: bool = False

    def encode(self, raster: Raster, source: str) -> EncodedLabel:
        """See `LabelCoding`."""
        colours = raster.colours()
        if colours.dtype != np.uint8 or raster.geometry is not None:
            raise InputError(f"{source} has no colours of 8 bits (its type is {colours.dtype}); give --labels instead")
        if colours.ndim == 2:
            colours = np.repeat(colours[..., None], 3, axis=-1)
        label = np.zeros(colours.shape[:2], np.uint8)
        known = np.zeros(colours.shape[:2], bool)
        for colour, number in self.label_of_colour.items():
            here = (colours == colour).all(axis=-1)
            label[here] = number
            known |= here
        if known.all():
            return EncodedLabel(label)
        others, index = np.unique(colours[~known], axis=0, return_inverse=True)
        if not self.approximates:
            shown = ", ".join(hex_of(colour) for colour in others[:5]) + (", ..." if len(others) > 5 else "")
            raise InputError(
                f"{source} has {_of_all(~known)} of colours that have no class ({shown}); known are "
                f"{', '.join(map(hex_of, self.label_of_colour))}: name all of them with --colours, or, where they come "
                "from blurred edges or JPEG, give --threshold too"
            )
        anchors = np.array(list(self.label_of_colour), float)
        distances = np.linalg.norm(others[:, None].astype(float) - anchors, axis=-1)
        numbers = np.array(list(self.label_of_colour.values()), np.uint8)
        label[~known] = numbers[distances.argmin(axis=1)][index.ravel()]
        return EncodedLabel(label, int(np.count_nonzero(~known)))


@dataclass(frozen=True)
class ThresholdCoding:
    """Bright pixels are the foreground.

    Attributes:
        classes: Names of background and foreground.
        threshold: The least value of the foreground; None for half of white.
        values: That background and foreground have; None for 0 and the greatest of each label image.
    """

    classes: tuple[str, ...] = ("background", "foreground")
    threshold: float | None = None
    values: tuple[float, ...] | None = None
    approximates = True

    def encode(self, raster: Raster, source: str) -> EncodedLabel:
        """See `LabelCoding`."""
        values = raster.values()
        white = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
        if values.ndim == 3 and raster.geometry is None:
            if (values.max(axis=-1) - values.min(axis=-1)).max() > NEARLY_GREY:
                raise InputError(f"{source} has colours; expected grey values to threshold, name them with --colours")
            values = values.mean(axis=-1)
        if self.threshold is None and white == 1:
            raise InputError(
                f"{source} has values of type {raster.pixels.dtype}, which have no white; give the least value of the "
                "foreground as --threshold VALUE"
            )
        foreground = values >= (self.threshold if self.threshold is not None else (white + 1) / 2)
        touched = np.count_nonzero(~np.isin(values, (0, values.max()) if self.values is None else self.values))
        return EncodedLabel(foreground.astype(np.uint8), int(touched))


@dataclass(frozen=True)
class InstanceCoding:
    """Every object has its own value or colour; all of them become one class.

    Attributes:
        classes: Names of background and objects.
    """

    classes: tuple[str, ...]
    approximates = False

    def encode(self, raster: Raster, source: str) -> EncodedLabel:  # noqa: ARG002  # no value is wrong
        """See `LabelCoding`; what is not 0 or not black is an object."""
        values = raster.values()
        if values.ndim == 3 and raster.geometry is None:
            values = values.any(axis=-1)
        return EncodedLabel((values != 0).astype(np.uint8))


def label_values(raster: Raster, source: str) -> Array:
    """Return the values of a label image.

    Raises:
        InputError: A label image in colours.
    """
    values = raster.values()
    if values.ndim == 3 and raster.geometry is None:
        try:
            return to_grey(values, source)
        except InputError as error:
            raise InputError(
                f"{source} has colours; name them with --colours, for example --colours tumour=255,0,0"
            ) from error
    return values


def _of_all(where: NDArray[np.bool_]) -> str:
    return f"{np.count_nonzero(where)} pixels ({where.mean():.3%})"


def _some(values: Array) -> str:
    return ", ".join(f"{value:g}" for value in values[:8]) + (", ..." if len(values) > 8 else "")
