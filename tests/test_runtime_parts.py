"""Each part of the runtime against nnU-Net's own function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation
from nnunetv2.preprocessing.normalization import default_normalization_schemes
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

from nnunet_pyconv.runtime.description import Normalization, Resampling, SchemeName
from nnunet_pyconv.runtime.normalization import SCHEMES, normalize
from nnunet_pyconv.runtime.postprocessing import keep_largest
from nnunet_pyconv.runtime.resampling import resample
from nnunet_pyconv.runtime.sliding_window import gaussian, steps

ISOTROPIC, ANISOTROPIC, TWO_COARSE = (1.0, 1.0, 1.0), (5.0, 1.0, 1.1), (0.3, 1.25, 1.25)


def volume(shape: tuple[int, ...] = (2, 9, 20, 17)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def label_map() -> np.ndarray:
    return np.random.default_rng(0).integers(-1, 3, (1, 9, 20, 17)).astype(np.float32)


@pytest.mark.parametrize("shape", [(9, 20, 17), (9, 27, 30), (14, 31, 12), (5, 10, 34)])
@pytest.mark.parametrize("spacing", [ISOTROPIC, ANISOTROPIC, TWO_COARSE])
@pytest.mark.parametrize(
    "how",
    [{"order": 3, "order_z": 0}, {"order": 1, "order_z": 0}, {"order": 1, "order_z": 1}, {"order": 0, "order_z": 0}],
    ids=str,
)
@pytest.mark.parametrize("force", [None, False, True])
def test_resampling(
    shape: tuple[int, ...], spacing: tuple[float, ...], how: dict[str, int], force: bool | None
) -> None:
    arguments: dict[str, Any] = {**how, "force_separate_z": force}
    found = resample(volume(), shape, spacing, ISOTROPIC, Resampling("resample_data_or_seg_to_shape", **arguments))
    if force and spacing != ANISOTROPIC:  # nnU-Net fails where it is told to separate an axis that there is not
        return
    expected = resample_data_or_seg_to_shape(volume(), shape, spacing, ISOTROPIC, **arguments)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(9, 27, 30), (14, 31, 12), (18, 40, 34)])
@pytest.mark.parametrize("spacing", [ISOTROPIC, ANISOTROPIC])
@pytest.mark.parametrize("order", [{"order": 1, "order_z": 0}, {"order": 0}, {"order": 1, "order_z": 1}], ids=str)
def test_resampling_of_labels(shape: tuple[int, ...], spacing: tuple[float, ...], order: dict[str, int]) -> None:
    arguments: dict[str, Any] = {**order, "is_seg": True, "force_separate_z": None}
    found = resample(label_map(), shape, spacing, ISOTROPIC, Resampling("resample_data_or_seg_to_shape", **arguments))
    expected = resample_data_or_seg_to_shape(label_map(), shape, spacing, ISOTROPIC, **arguments)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(9, 27, 30), (14, 31, 12), (18, 40, 34)])
@pytest.mark.parametrize("spacing", [ISOTROPIC, ANISOTROPIC])
@pytest.mark.parametrize("is_seg", [False, True])
def test_torchs_resampling(shape: tuple[int, ...], spacing: tuple[float, ...], is_seg: bool) -> None:
    data = label_map() if is_seg else volume()
    how = Resampling("resample_torch_fornnunet", is_seg=is_seg, force_separate_z=None)
    expected = resample_torch_fornnunet(data, shape, spacing, ISOTROPIC, is_seg=is_seg)
    found = resample(data, shape, spacing, ISOTROPIC, how)
    if is_seg:
        assert (found == expected).mean() > 0.9999
    else:
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("use_mask", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_normalisation(scheme: SchemeName, use_mask: bool) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (4, 9, 8)).astype(np.float32)
    inside = image > 40
    statistics = {"mean": 90.5, "std": 12.25, "percentile_00_5": 20.0, "percentile_99_5": 200.0}
    normalizer = getattr(default_normalization_schemes, scheme)(use_mask, statistics)
    expected = normalizer.run(image.copy(), np.where(inside, 0, -1))
    normalize(image, inside, Normalization(scheme, use_mask, *statistics.values()))
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("size", [16, 17, 40, 100])
@pytest.mark.parametrize("step_size", [0.3, 0.5, 1.0])
def test_steps(size: int, step_size: float) -> None:
    assert [steps(size, 16, step_size)] == compute_steps_for_sliding_window((size,), (16,), step_size)


@pytest.mark.parametrize("patch", [(16, 24), (8, 12, 20), (512, 512)])
def test_gaussian(patch: tuple[int, ...]) -> None:
    expected = compute_gaussian(patch, value_scaling_factor=10, device=torch.device("cpu"))
    np.testing.assert_array_equal(gaussian(patch), expected.numpy())


@pytest.mark.parametrize("which", [[1], [2], [1, 2]])
def test_largest_component(which: list[int]) -> None:
    labels = (np.random.default_rng(0).uniform(size=(6, 20, 20)) > 0.8).astype(np.uint8)
    labels[:, 10:] *= 2
    expected = remove_all_but_largest_component_from_segmentation(labels, which)
    assert (expected != labels).any()
    np.testing.assert_array_equal(keep_largest(labels, [which]), expected)


def test_components_of_equal_size_stay() -> None:
    labels = np.array([[[1, 0, 1, 0, 0], [0, 0, 0, 0, 2]]])
    np.testing.assert_array_equal(keep_largest(labels, [[1], [2]]), labels)
