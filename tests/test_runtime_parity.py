"""A model file predicts what nnU-Net's own code predicts."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  # its own habit
import skimage.io
import tifffile
from conftest import NnunetFolders
from made_models import Made, Recipe, make_model, predict_with_nnunet

from nnunet_pyconv.cli import main
from nnunet_pyconv.export import export_model
from nnunet_pyconv.runtime.readers import reader_named
from nnunet_pyconv.runtime.readers.itk_nifti import ItkNifti

REGIONS: Mapping[str, Any] = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
COS, SIN = math.cos(0.3), math.sin(0.3)
OBLIQUE = (COS, -SIN, 0, SIN, COS, 0, 0, 0, 1)


def torch_resampling(plans: dict[str, Any]) -> None:
    """What nnU-Net's torchres planners choose."""
    for configuration in plans["configurations"].values():
        for what, is_seg in (("data", False), ("seg", True), ("probabilities", False)):
            configuration[f"resampling_fn_{what}"] = "resample_torch_fornnunet"
            configuration[f"resampling_fn_{what}_kwargs"] = {
                "is_seg": is_seg, "force_separate_z": False, "memefficient_seg_resampling": False
            }  # fmt: skip


def coarser(plans: dict[str, Any]) -> None:
    for configuration in plans["configurations"].values():
        configuration["spacing"] = [1.3 * size for size in configuration["spacing"]]


def permuted(plans: dict[str, Any]) -> None:
    plans["transpose_forward"], plans["transpose_backward"] = [2, 0, 1], [1, 2, 0]


PNG = {"file_ending": ".png"}
QUICK = {
    "png": Recipe((70, 90), channels=("EM",), **PNG),
    "anisotropic": Recipe((12, 50, 46), spacing=(5.0, 0.9, 0.8), configuration="3d_fullres", plans=coarser),
}
MATRIX = {
    "png in colours": Recipe((60, 75), channels=("R", "G", "B"), colours=3, **PNG),
    "colours to 0..1": Recipe((60, 75), channels=("rgb_to_0_1",) * 3, colours=3, **PNG),
    "rescaled": Recipe((60, 75), channels=("rescale_to_0_1",), **PNG),
    "not normalised": Recipe((60, 75), channels=("noNorm",), **PNG),
    "ensemble": Recipe((70, 90), folds=(0, 1), **PNG),
    "without mirroring": Recipe((70, 90), mirroring=False, **PNG),
    "ignore label": Recipe((70, 90), labels={"background": 0, "a": 1, "ignore": 2}, **PNG),
    "tiff with hu": Recipe((64, 80), channels=("CT",), offset=-900.0, file_ending=".tif"),
    "3d tiff": Recipe((14, 40, 44), spacing=(3.0, 1.0, 1.0), file_ending=".tif", configuration="3d_fullres"),
    "slices of volumes": Recipe((6, 50, 46), spacing=(3.0, 0.9, 0.8), plans=coarser),
    "isotropic": Recipe((36, 40, 44), configuration="3d_fullres", plans=coarser),
    "regions": Recipe(
        (36, 40, 44), labels=REGIONS, entries={"regions_class_order": [1, 2, 3]}, configuration="3d_fullres"
    ),
    "channels": Recipe((20, 40, 44), channels=("T1", "CT"), configuration="3d_fullres"),
    "cropped": Recipe((30, 44, 40), border=9, configuration="3d_fullres"),
    "smaller than the patch": Recipe((36, 40, 44), test_shape=(9, 21, 60), configuration="3d_fullres"),
    "permuted": Recipe((30, 44, 40), spacing=(1.5, 1.0, 1.2), configuration="3d_fullres", plans=permuted),
    "oblique": Recipe((20, 40, 44), direction=OBLIQUE, spacing=(2.0, 0.7, 0.8), configuration="3d_fullres"),
    "reoriented": Recipe(
        (20, 40, 44),
        direction=(0, -1, 0, 1, 0, 0, 0, 0, -1),
        entries={"overwrite_image_reader_writer": "NibabelIOWithReorient"},
        configuration="3d_fullres",
    ),
    "reoriented by itk": Recipe(
        (20, 40, 44),
        direction=(0, -1, 0, 1, 0, 0, 0, 0, -1),
        entries={"overwrite_image_reader_writer": "SimpleITKIOWithReorient"},
        configuration="3d_fullres",
    ),
    "nibabel": Recipe(
        (20, 40, 44),
        direction=OBLIQUE,
        entries={"overwrite_image_reader_writer": "NibabelIO"},
        configuration="3d_fullres",
    ),
    "torch's resampling": Recipe(
        (12, 50, 46),
        spacing=(5.0, 0.9, 0.8),
        configuration="3d_fullres",
        plans=lambda plans: (coarser(plans), torch_resampling(plans))[0],
    ),
}


@pytest.fixture
def dataset(request: pytest.FixtureRequest) -> str:
    return f"Dataset{1 + zlib.crc32(request.node.name.encode()) % 900:03d}_Parity"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", QUICK.values(), ids=QUICK)
def test_same_prediction(
    recipe: Recipe, nnunet_folders: NnunetFolders, tmp_path: Path, dataset: str, request: pytest.FixtureRequest
) -> None:
    made = make_model(recipe, nnunet_folders, dataset)[recipe.configuration]
    check(made, recipe, tmp_path, request.node.callspec.id)


@pytest.mark.long
@pytest.mark.parametrize("recipe", MATRIX.values(), ids=MATRIX)
def test_same_prediction_of_all(
    recipe: Recipe, nnunet_folders: NnunetFolders, tmp_path: Path, dataset: str, request: pytest.FixtureRequest
) -> None:
    made = make_model(recipe, nnunet_folders, dataset)[recipe.configuration]
    check(made, recipe, tmp_path, request.node.callspec.id)


@pytest.mark.long
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((64, 80, 72), (1.0, 1.0, 1.0)), ((32, 112, 96), (4.0, 1.0, 1.0))],
    ids=["isotropic", "anisotropic"],
)
def test_same_cascade(
    shape: tuple[int, ...], spacing: tuple[float, ...], nnunet_folders: NnunetFolders, tmp_path: Path, dataset: str,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    recipe = Recipe(shape, spacing=spacing)
    stages = make_model(recipe, nnunet_folders, dataset, ("3d_lowres", "3d_cascade_fullres"))
    name, lowres = request.node.callspec.id, tmp_path / "lowres"
    check(stages["3d_lowres"], recipe, lowres, f"low resolution, {name}")
    check(stages["3d_cascade_fullres"], recipe, tmp_path / "fullres", f"cascade, {name}", previous=lowres / "theirs")


def check(made: Made, recipe: Recipe, folder: Path, name: str, previous: Path | None = None) -> None:
    """Labels are the same in 99.99 % of the voxels, probabilities to 0.001, and geometry exactly; prints a row.

    A NIfTI header that another library writes has the same geometry to single precision.
    """
    theirs, ours = folder / "theirs", folder / "ours"
    predict_with_nnunet(made, theirs, previous=previous, folds=recipe.folds)
    exported = export_model(made.folder, folder / "model.pyz")
    model, description = exported.file, exported.description
    stage = [] if previous is None else ["-prev_stage_predictions", str(previous)]
    for probabilities in ([], ["--save_probabilities"]):
        main([
            "predict", "-m", str(model), "-i", str(made.images), "-o", str(ours), "-device", "cpu", "--overwrite",
            *stage, *probabilities,
        ])  # fmt: skip
        (file,) = theirs.glob(f"*{made.ending}")
        expected, found = read(file), read(ours / file.name)
        rounding = 1e-6 if isinstance(reader_named(description.reader, made.ending), ItkNifti) else 0
        assert found[1] == pytest.approx(expected[1], rel=rounding, abs=rounding)
        assert found[0].shape == expected[0].shape
        assert found[0].dtype == expected[0].dtype
        assert len(np.unique(expected[0])) >= 2  # else agreement would say nothing
        same = (found[0] == expected[0]).mean()
        assert same >= 0.9999
    case = file.name.removesuffix(made.ending)
    want, got = (np.load(part / f"{case}.npz")["probabilities"] for part in (theirs, ours))
    assert got.shape == want.shape
    difference = np.abs(got - want).max()
    assert difference <= 1e-3
    print(f"| {name} | {100 * same:.4f} | {difference:.0e} |")


def read(file: Path) -> tuple[np.ndarray, list[float]]:
    """Labels, and where they lie in space."""
    if file.suffix == ".png":
        return skimage.io.imread(file), []
    if file.suffix == ".tif":
        beside = file.with_suffix(".json")
        return tifffile.imread(file), json.loads(beside.read_text())["spacing"] if beside.exists() else []
    image = sitk.ReadImage(str(file))
    return sitk.GetArrayFromImage(image), [*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()]
