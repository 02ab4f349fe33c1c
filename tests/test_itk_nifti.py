"""NIfTI read and written by nibabel is what SimpleITK reads and writes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  # its own habit

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.runtime.readers import reader_named
from nnunet_pyconv.runtime.readers.base import Reader, ReadImage
from nnunet_pyconv.runtime.readers.sitk import Itk

OURS, THEIRS = reader_named("SimpleITKIO", ".nii.gz"), Itk()
SHAPES = [(4, 5, 6)] * 12 + [(4, 5, 1), (4, 5), (1, 5, 6), (4, 5, 6, 1), (4, 5, 6, 1, 1), (4, 5, 6, 2)]
DTYPES = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64, np.float32, np.float64]
CODES = [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1), (2, 2), (1, 2), (1, 4)]
ERRORS = [0, 0, 0, 1e-6, 1e-3, 0.3]
SKEW = np.array([[1, 0.3, 0], [0, 1, 0], [0, 0, 1]])


def write_nifti(file: Path, seed: int) -> None:
    """Write a file with a header of random type, scale, unit and geometry."""
    rng = np.random.default_rng(seed)
    shape, dtype = SHAPES[rng.integers(len(SHAPES))], np.dtype(DTYPES[rng.integers(len(DTYPES))])
    header: Any = nibabel.Nifti1Header(endianness=rng.choice(["<", ">"]))
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_xyzt_units(rng.choice(["mm", "mm", "micron", "meter", "unknown"]))
    spacing = np.append(rng.uniform(0.3, 3, min(len(shape), 3)), [1] * (3 - min(len(shape), 3)))
    turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    axes = [np.eye(3), np.eye(3)[[1, 0, 2]] * [1, -1, -1], turned][rng.integers(3)]
    qform_code, sform_code = CODES[rng.integers(len(CODES))]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * spacing, rng.normal(size=3) * 10
    header.set_qform(affine, qform_code)
    affine[:3, :3] = affine[:3, :3] @ (np.eye(3) + ERRORS[rng.integers(len(ERRORS))] * rng.normal(size=(3, 3)))
    header.set_sform(affine, sform_code)
    header["scl_slope"], header["scl_inter"] = [(1, 0), (0, 0), (np.nan, np.nan), rng.normal(size=2)][rng.integers(4)]
    write_raw(file, header, rng.integers(0, 100, shape).astype(dtype.newbyteorder(header.endianness)))


def write_raw(file: Path, header: Any, data: np.ndarray) -> None:
    """Write what nibabel itself would change or refuse."""
    header["magic"] = b"n+1"
    header.set_data_offset(352)
    with gzip.open(file, "wb", 1) as stream:
        stream.write(header.binaryblock + bytes(4) + data.tobytes("F"))


def read(reader: Reader, file: Path) -> ReadImage | None:
    try:
        return reader.read([file])
    except InputError:
        return None


@pytest.mark.slow
@pytest.mark.filterwarnings("error:::nnunet_pyconv")
def test_same_as_simpleitk(tmp_path: Path) -> None:
    file = tmp_path / "a_0000.nii.gz"
    counts = {"read": 0, "refused": 0}
    for seed in range(300):
        write_nifti(file, seed)
        found, expected = read(OURS, file), read(THEIRS, file)
        assert (found is None) == (expected is None), seed
        counts["refused" if found is None else "read"] += 1
        if found is None or expected is None:
            continue
        np.testing.assert_array_equal(found.array, expected.array, err_msg=str(seed))
        np.testing.assert_allclose(found.spacing, expected.spacing, rtol=1e-6)
        for key, value in expected.header["sitk_stuff"].items():
            np.testing.assert_allclose(found.header["sitk_stuff"][key], value, 1e-6, 2e-4, err_msg=f"{seed} {key}")
        check_written(found, expected, tmp_path)
    assert min(counts.values()) > 30


def check_written(found: ReadImage, expected: ReadImage, folder: Path) -> None:
    """Labels are the same, and SimpleITK tells the same geometry of both files."""
    labels = (expected.array[0] > 50).astype(np.uint8)
    OURS.write(labels, folder / "ours.nii.gz", found)
    THEIRS.write(labels, folder / "theirs.nii.gz", expected)
    ours, theirs = (sitk.ReadImage(str(folder / f"{name}.nii.gz")) for name in ("ours", "theirs"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(theirs))
    assert ours.GetPixelID() == theirs.GetPixelID()
    assert ours.GetSpacing() == theirs.GetSpacing()
    np.testing.assert_allclose(ours.GetOrigin(), theirs.GetOrigin(), 1e-6, 2e-4)
    np.testing.assert_allclose(ours.GetDirection(), theirs.GetDirection(), 1e-6, 4e-4)


def skewed(file: Path) -> None:
    header: Any = nibabel.Nifti1Header()
    header.set_data_shape((4, 5, 6))
    affine = np.eye(4)
    affine[:3, :3] = SKEW
    header.set_sform(affine, 1)
    write_raw(file, header, np.zeros((4, 5, 6), np.float32))


def of_version_2(file: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(np.zeros((4, 5, 6), np.float32), np.eye(4)), file)


def in_colours(file: Path) -> None:
    colours = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), file)


def over_time(file: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6, 2), np.float32), np.eye(4)), file)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (skewed, "not at right angles"),
        (of_version_2, "is a Nifti2Image; expected NIfTI-1"),
        (in_colours, "expected 2 or 3 axes of real numbers"),
        (over_time, "has 4 axes of float32"),
        (lambda file: file.write_bytes(b"no image"), "can't read"),
    ],
    ids=["skewed", "version 2", "colours", "time", "text"],
)  # fmt: skip
def test_refuses_what_simpleitk_refuses(write: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a_0000.nii.gz"
    write(file)
    with pytest.raises(InputError, match=message):
        OURS.read([file])
    assert read(THEIRS, file) is None


def test_refuses_a_truncated_file(tmp_path: Path) -> None:
    file = tmp_path / "a_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).random((9, 9, 9)), np.eye(4)), file)
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(InputError, match="can't read"):
        OURS.read([file])
