"""nnU-Net's normalisation schemes (preprocessing/normalization/default_normalization_schemes.py)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv.runtime.description import Normalization, SchemeName
from nnunet_pyconv.runtime.errors import InputError

Image = NDArray[np.float32]
_SMALLEST = 1e-8  # instead of a standard deviation of 0


def normalize(image: Image, inside: NDArray[np.bool_] | None, how: Normalization) -> None:
    """Normalise a channel in place.

    Args:
        image: `(Z, Y, X)`.
        inside: Where the image counts, if `how` uses a mask.
        how: The scheme.

    Raises:
        InputError: Values that the scheme does not take.
    """
    SCHEMES[how.scheme](image, inside, how)


def _z_score(image: Image, inside: NDArray[np.bool_] | None, how: Normalization) -> None:
    if how.use_mask:
        assert inside is not None  # preprocessing gives it where a channel needs it
        mean, std = image[inside].mean(), image[inside].std()
        image[inside] = (image[inside] - mean) / max(std, _SMALLEST)
    else:
        mean, std = image.mean(), image.std()
        image -= mean
        image /= max(std, _SMALLEST)


def _ct(image: Image, inside: NDArray[np.bool_] | None, how: Normalization) -> None:  # noqa: ARG001  # as the others
    np.clip(image, how.lower, how.upper, out=image)
    image -= how.mean
    image /= max(how.std, _SMALLEST)


def _none(image: Image, inside: NDArray[np.bool_] | None, how: Normalization) -> None:
    pass


def _rescale(image: Image, inside: NDArray[np.bool_] | None, how: Normalization) -> None:  # noqa: ARG001
    image -= image.min()
    image /= np.clip(image.max(), a_min=_SMALLEST, a_max=None)


def _rgb(image: Image, inside: NDArray[np.bool_] | None, how: Normalization) -> None:  # noqa: ARG001
    if image.min() < 0 or image.max() > 255:
        raise InputError(
            f"the image has values from {image.min():g} to {image.max():g}, and the model was trained on 8-bit "
            "colours; expected 0 to 255"
        )
    image /= 255.0


SCHEMES: dict[SchemeName, Callable[[Image, NDArray[np.bool_] | None, Normalization], None]] = {
    "ZScoreNormalization": _z_score,
    "CTNormalization": _ct,
    "NoNormalization": _none,
    "RescaleTo01Normalization": _rescale,
    "RGBTo01Normalization": _rgb,
}
"""By the name of nnU-Net's class."""
