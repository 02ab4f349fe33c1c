"""Reading images, label images and volumes as their files describe them."""

from nnunet_pyconv.dataset_conversion.reading.files import (
    ENDINGS,
    PICTURE_ENDINGS,
    VOLUME_ENDINGS,
    ending,
    has_palette,
    read,
)
from nnunet_pyconv.dataset_conversion.reading.grey import (
    Label,
    Mask,
    read_grey,
    read_mask,
    require_same_size,
    to_grey,
    to_mask,
)
from nnunet_pyconv.dataset_conversion.reading.hounsfield import to_hounsfield
from nnunet_pyconv.dataset_conversion.reading.raster import Array, Colour, Geometry, Raster, hex_of
from nnunet_pyconv.dataset_conversion.reading.tiff import read_stack

__all__ = [
    "ENDINGS",
    "PICTURE_ENDINGS",
    "VOLUME_ENDINGS",
    "Array",
    "Colour",
    "Geometry",
    "Label",
    "Mask",
    "Raster",
    "ending",
    "has_palette",
    "hex_of",
    "read",
    "read_grey",
    "read_mask",
    "read_stack",
    "require_same_size",
    "to_grey",
    "to_hounsfield",
    "to_mask",
]
