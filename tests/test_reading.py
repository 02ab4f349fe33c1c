"""The one reader of all converters: what a file says of its pixels is honoured, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import SimpleITK
import tifffile
from numpy.typing import NDArray
from PIL import Image

from nnunet_pyconv.dataset_conversion.reading import read, read_grey, read_mask, read_stack
from nnunet_pyconv.errors import InputError

GREY = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8) * 5
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)
BINARY = GREY > 100
OPAQUE = np.full((6, 8, 1), 255, np.uint8)
RED_AND_BLACK = [0, 0, 0, 255, 0, 0]


def pillow(pixels: NDArray[Any], **options: Any) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(pixels).save(path, **options)


def tiff(pixels: NDArray[Any], **options: Any) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, pixels, **options)


def palette(colours: list[int]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        image = Image.new("P", BINARY.shape[::-1])
        image.putdata(BINARY.ravel().astype(int).tolist())
        image.putpalette(colours)
        image.save(path)

    return write


PNG_16 = RGB.astype(np.uint16) * 257
WHITE = BINARY.astype(np.uint8) * 255
APPLIED = np.stack([WHITE, 0 * WHITE, 0 * WHITE], axis=-1)


@pytest.mark.parametrize(
    ("name", "write", "expected"),
    [
        ("grey.png", pillow(GREY), GREY),
        ("RGB.PNG", pillow(RGB), RGB),
        ("alpha.png", pillow(np.concatenate([RGB, OPAQUE], axis=-1)), RGB),
        ("grey_alpha.png", pillow(np.concatenate([GREY[..., None], OPAQUE], axis=-1)), GREY),
        ("one_bit.png", pillow(BINARY), WHITE),
        ("grey16.png", pillow(GREY.astype(np.uint16) * 257), GREY.astype(np.uint16) * 257),
        ("rgb16.png", lambda path: path.write_bytes(imagecodecs.png_encode(PNG_16)), PNG_16),
        ("palette.png", palette(RED_AND_BLACK), APPLIED),
        ("palette.gif", palette(RED_AND_BLACK), APPLIED),
        ("grey_palette.png", palette([255, 255, 255, 0, 0, 0]), 255 - WHITE),
        ("rgb.bmp", pillow(RGB), RGB),
        ("grey.tif", tiff(GREY), GREY),
        ("signed.TIFF", tiff(GREY.astype(np.int16) - 100), GREY.astype(np.int16) - 100),
        ("big_endian.tif", tiff(GREY.astype(np.uint16), byteorder=">"), GREY.astype(np.uint16)),
        ("float.tif", tiff(GREY.astype(np.float32) / 7), GREY.astype(np.float32) / 7),
        ("white_is_zero.tif", tiff(GREY, photometric="miniswhite"), 255 - GREY),
        ("white_is_zero16.tif", tiff(GREY.astype(np.uint16), photometric="miniswhite"), 65535 - GREY.astype(np.uint16)),
        ("fax.tif", pillow(BINARY, compression="group4"), WHITE),
        ("truth.tif", tiff(BINARY), WHITE),
        ("one_bit.tif", pillow(BINARY), WHITE),
        ("one_bit_white_is_zero.tif", tiff(BINARY, software="another"), 255 - WHITE),
        ("rgb.tif", tiff(RGB, photometric="rgb"), RGB),
        ("planes.tif", tiff(RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), RGB),
        ("alpha.tif", tiff(np.concatenate([RGB, OPAQUE], axis=-1), photometric="rgb"), RGB),
        ("palette.tif", palette(RED_AND_BLACK), APPLIED),
        ("lzw.tif", tiff(GREY, compression="lzw", predictor=True), GREY),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_file_says(name: str, write: Callable[[Path], None], expected: NDArray[Any], tmp_path: Path) -> None:
    write(tmp_path / name)
    pixels = read(tmp_path / name).colours()
    assert pixels.dtype.newbyteorder("=") == expected.dtype
    np.testing.assert_array_equal(pixels, expected)


def test_four_bits_become_eight(tmp_path: Path) -> None:
    """White is 255, in PNG as in TIFF."""
    nibbles = np.array([[0, 15, 5, 10]], np.uint8)
    packed = np.array([[0x0F, 0x5A]], np.uint8).tobytes()
    with tifffile.TiffWriter(tmp_path / "four.tif") as file:
        file.write(
            iter([packed]),
            shape=nibbles.shape,
            dtype=np.uint8,
            bitspersample=4,
            photometric="minisblack",
            rowsperstrip=1,
        )
    np.testing.assert_array_equal(read(tmp_path / "four.tif").pixels, nibbles * 17)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".tif", ".jpg", ".png"])
def test_orientation(orientation: int, ending: str, tmp_path: Path) -> None:
    """By the definition of the tag: where row 0 and column 0 of the file belong in the picture."""
    corner = np.zeros((16, 24), np.uint8)
    corner[:8, :16] = 200  # near the file's row 0 and column 0
    path = tmp_path / f"picture{ending}"
    if ending == ".tif":
        tifffile.imwrite(path, corner, extratags=[(274, "H", 1, orientation, True)])
    else:
        image = Image.fromarray(corner)
        image.getexif()[274] = orientation
        image.save(path, exif=image.getexif())
    picture = read(path).pixels
    assert picture.shape == ((16, 24) if orientation < 5 else (24, 16))
    bottom, right = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    assert abs(int(picture[-1 if bottom else 0, -1 if right else 0]) - 200) < 10
    assert picture[0 if bottom else -1, 0 if right else -1] < 10


def jpeg_in_tiff(path: Path) -> None:
    Image.fromarray(np.full((16, 16, 3), (200, 30, 60), np.uint8)).save(path, compression="jpeg")


def test_jpeg_in_tiff_becomes_rgb(tmp_path: Path) -> None:
    jpeg_in_tiff(tmp_path / "a.tif")
    assert np.abs(read(tmp_path / "a.tif").pixels.astype(int) - (200, 30, 60)).max() < 8


def test_preview_pages_are_passed_over(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY, photometric="minisblack")
        file.write(GREY[::2, ::2], photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, GREY)


def transparent(path: Path) -> None:
    Image.fromarray(np.concatenate([RGB, OPAQUE - 1], axis=-1)).save(path)


def transparent_colour(path: Path) -> None:
    Image.fromarray(RGB).save(path, transparency=tuple(int(value) for value in RGB[0, 0]))


def two_frames(path: Path) -> None:
    Image.fromarray(GREY).save(path, save_all=True, append_images=[Image.fromarray(255 - GREY)])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.png", transparent, r"a\.png has transparent pixels \(an alpha channel from 254 to 254\)"),
        ("a.png", transparent_colour, r"a\.png has transparent pixels \(an alpha channel from 0 to 255\)"),
        ("a.gif", two_frames, "has 2 frames; expected one picture"),
        ("a.jpg", lambda path: Image.fromarray(RGB).convert("CMYK").save(path), "has CMYK colours; expected grey"),
        ("a.tif", lambda path: Image.fromarray(RGB).convert("CMYK").save(path), "has SEPARATED colours"),
        ("a.tif", lambda path: Image.fromarray(RGB).convert("LAB").save(path), "has CIELAB colours"),
        ("a.tif", tiff(np.zeros((6, 8, 5), np.uint8), photometric="minisblack", planarconfig="contig"), "5 samples"),
        ("a.tif", tiff(GREY.astype(np.int16), photometric="miniswhite"), "0 is white.*type int16"),
        ("a.tif", tiff(GREY.astype(np.complex64)), "pixels of type complex64; expected integers"),
        ("a.tif", tiff(GREY, extratags=[(274, "H", 1, 9, True)]), "unknown orientation 9"),
        ("a.tif", tiff(np.stack([GREY] * 3), photometric="minisblack"), "has 3 pages; expected one picture"),
        ("a.tif", tiff(np.concatenate([RGB, OPAQUE - 9], axis=-1), photometric="rgb"), "transparent pixels"),
        ("a.png", lambda path: path.write_bytes(b"no picture"), r"can't read .*a\.png.*Expected a whole PNG"),
        ("a.nii.gz", lambda path: path.write_bytes(b"no volume"), r"can't read .*a\.nii\.gz.*Expected a whole NIfTI"),
        ("a.nrrd", lambda path: None, r"can't read .*a\.nrrd: no such file"),
        ("a.xyz", lambda path: None, r"a\.xyz has an unknown ending; expected one of \.png"),
    ],
    ids=[
        "alpha", "transparent-colour", "frames", "cmyk-jpeg", "cmyk-tiff", "lab", "samples", "signed-white-is-zero",
        "complex", "orientation", "pages", "tiff-alpha", "no-png", "no-nifti", "missing", "ending",
    ],
)  # fmt: skip
def test_what_is_refused(name: str, write: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(InputError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".tif", ".nii", ".nii.gz", ".nrrd", ".mha"])
def test_truncated(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    noise = np.random.default_rng(0).integers(0, 255, (4, 64, 64), dtype=np.uint8)
    if ending in (".nii", ".nii.gz", ".nrrd", ".mha"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise), str(path), True)
    else:
        Image.fromarray(noise[0]).save(path)
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(InputError, match=rf"can't read .*a{ending}"):
        read(path)


def test_stack_of_grey_pages(tmp_path: Path) -> None:
    pages = np.stack([GREY, 255 - GREY, GREY])
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif"), pages)
    tifffile.imwrite(tmp_path / "b.tif", pages, photometric="miniswhite")
    np.testing.assert_array_equal(read_stack(tmp_path / "b.tif"), 255 - pages)
    tifffile.imwrite(tmp_path / "c.tif", GREY)
    np.testing.assert_array_equal(read_stack(tmp_path / "c.tif"), GREY[None])


def test_colours_are_no_stack(tmp_path: Path) -> None:
    """A picture of 6 x 8 in colour is not 6 pages of 8 x 3."""
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb")
    with pytest.raises(InputError, match=r"pages of RGB, 6 x 8 x 3; expected a multi-page TIFF of grey images"):
        read_stack(tmp_path / "a.tif")


def test_masks_of_a_palette(tmp_path: Path) -> None:
    """Grey palettes are looked up; where the colours only show the classes, the index counts."""
    palette([255, 255, 255, 0, 0, 0])(tmp_path / "inverted.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "inverted.png").foreground, ~BINARY)
    palette(RED_AND_BLACK)(tmp_path / "red.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "red.png").foreground, BINARY)
    with pytest.raises(InputError, match="is a colour image"):
        read_grey(tmp_path / "red.png")


@pytest.mark.parametrize(
    ("values", "remark"),
    [
        ((0, 255), None),
        ((0, 1), None),
        ((0, 65535), None),
        ((0, 254), "the values 0 and 254 instead of 0 and 255"),
        ((0, 128), "the values 0 and 128"),
    ],
)
def test_two_values_are_a_mask(values: tuple[int, int], remark: str | None, tmp_path: Path) -> None:
    dtype = np.uint16 if values[1] > 255 else np.uint8
    tifffile.imwrite(tmp_path / "a.tif", np.where(BINARY, values[1], values[0]).astype(dtype))
    mask = read_mask(tmp_path / "a.tif")
    np.testing.assert_array_equal(mask.foreground, BINARY)
    assert mask.remark is None if remark is None else remark in str(mask.remark)


def test_volumes(tmp_path: Path) -> None:
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing((1, 2, 3))
    image.SetOrigin((4, 5, 6))
    for name in ("a.nii.gz", "a.nii", "a.nrrd", "a.mha"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
        raster = read(tmp_path / name)
        np.testing.assert_array_equal(raster.pixels, voxels)
        assert raster.geometry is not None
        assert raster.geometry.spacing == (1, 2, 3)
        np.testing.assert_allclose(raster.geometry.origin, (4, 5, 6))
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(RGB, isVector=True), str(tmp_path / "rgb.nrrd"))
    with pytest.raises(InputError, match="3 values a voxel; expected one"):
        read(tmp_path / "rgb.nrrd")


def test_fourth_axis_is_that_of_channels(tmp_path: Path) -> None:
    channels = [SimpleITK.GetImageFromArray(np.full((2, 3, 4), value, np.float32)) for value in (1, 2)]
    SimpleITK.WriteImage(SimpleITK.JoinSeries(channels), str(tmp_path / "a.nii.gz"))
    raster = read(tmp_path / "a.nii.gz")
    assert raster.pixels.shape == (2, 2, 3, 4)
    assert raster.pixels[1].min() == 2
    assert raster.geometry is not None
    assert len(raster.geometry.spacing) == 3
    assert len(raster.geometry.direction) == 9
