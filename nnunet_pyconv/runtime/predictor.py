"""The predictor: images in, labels out."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnunet_pyconv.runtime.description import Device
from nnunet_pyconv.runtime.errors import InputError
from nnunet_pyconv.runtime.labels import Labels, labels_and_probabilities_of, labels_of
from nnunet_pyconv.runtime.model_file import ModelFile
from nnunet_pyconv.runtime.network import OnnxNetwork
from nnunet_pyconv.runtime.postprocessing import keep_largest
from nnunet_pyconv.runtime.preprocessing import PreprocessedGeometry, preprocess
from nnunet_pyconv.runtime.readers.base import FLAT
from nnunet_pyconv.runtime.sliding_window import predict_logits

IN_MEMORY_BYTES = 1 << 30
"""Logits of more than this accumulate in a file."""


@dataclass(frozen=True)
class Settings:
    """How to predict; the defaults are nnU-Net's.

    Attributes:
        device: Where the networks run; None for a GPU if ONNX Runtime has one, else the CPU.
        mirroring: Whether to average over mirrored inputs, as far as the model was trained for it.
        step_size: Distance of the patches as a share of their size, above 0 and at most 1.
        postprocess: Whether to keep only the largest components that nnU-Net's post-processing chose.
        in_memory_bytes: Logits of more than this accumulate in a file.
        scratch: Folder for that file; None for the system's.
    """

    device: Device | None = None
    mirroring: bool = True
    step_size: float = 0.5
    postprocess: bool = False
    in_memory_bytes: int = IN_MEMORY_BYTES
    scratch: Path | None = None

    def __post_init__(self) -> None:
        if not 0 < self.step_size <= 1:
            raise InputError(f"-step_size {self.step_size}: expected more than 0 and at most 1")


class Predictor:
    """A model that predicts the labels of arrays.

    Example:
        predictor = Predictor("model.pyz")
        labels = predictor(array, spacing=(1.0, 1.0))

    Attributes:
        model: The model file.
        settings: How to predict.
    """

    def __init__(self, model: str | Path | ModelFile, settings: Settings = Settings()) -> None:  # frozen
        """Load the networks.

        Args:
            model: A file that `nnunet_pyconv export` wrote; no code of it is executed.
            settings: How to predict.

        Raises:
            InputError: A file that can't be used, or a device that is not there.
        """
        self.model = model if isinstance(model, ModelFile) else ModelFile.open(model)
        self.settings = settings
        self._networks = [
            OnnxNetwork(self.model.network(network.file), settings.device, f"{self.model.path}: {network.file}")
            for network in self.model.description.networks
        ]
        self._one_at_a_time = threading.Lock()

    def __call__(
        self, array: ArrayLike, spacing: Sequence[float] | None = None, previous: ArrayLike | None = None
    ) -> Labels:
        """Predict the labels of an image.

        Args:
            array: `(C, [Z,] Y, X)`, or without the axis of channels where the model has one channel.
            spacing: In mm along `[Z,] Y, X`; its length says whether the image is 2D or 3D. None for 1 mm, and then the
                array must have the axis of channels.
            previous: Labels `[Z,] Y, X` of the previous stage, in a cascade.

        Returns:
            The labels, `[Z,] Y, X`.

        Raises:
            InputError: An array that the model can't take.
        """
        image = np.asarray(array)
        if spacing is None:
            spacing = (1.0,) * (image.ndim - 1)
        dimensions = len(spacing)
        if image.ndim == dimensions:
            image = image[None]
        if dimensions not in (2, 3) or image.ndim != dimensions + 1:
            raise InputError(
                f"the array has the shape {np.shape(array)} and the spacing {tuple(spacing)}; expected (C, Y, X) with "
                "two spacings or (C, Z, Y, X) with three"
            )
        before = None if previous is None else np.asarray(previous)
        if dimensions == 2:
            image, spacing = image[:, None], (FLAT * max(spacing), *spacing)
            before = None if before is None else before[None]
        data, geometry = self.prepare(image, spacing, before)
        labels = self.labels(self.logits(data), geometry)
        return labels[0] if dimensions == 2 else labels

    def prepare(
        self, image: NDArray[Any], spacing: Sequence[float], previous: NDArray[Any] | None = None
    ) -> tuple[NDArray[np.float32], PreprocessedGeometry]:
        """Check and preprocess an image.

        Args:
            image: `(C, Z, Y, X)`.
            spacing: (z, y, x) in mm.
            previous: Labels `(Z, Y, X)` of the previous stage, in a cascade.

        Raises:
            InputError: An image that the model can't take.
        """
        description = self.model.description
        channels = description.channels
        if image.size == 0:
            raise InputError(f"the image has the shape {image.shape}, so no voxels")
        if image.shape[0] != len(channels):
            raise InputError(
                f"the image has {image.shape[0]} channels; the model expects {len(channels)} ({', '.join(channels)})"
            )
        if min(spacing) <= 0 or not np.isfinite(spacing).all():
            raise InputError(f"the image has the spacing {tuple(spacing)}; expected positive numbers of mm")
        if len(description.patch_size) == 3 and image.shape[1] == 1 and spacing[0] >= FLAT * max(spacing[1:]):
            raise InputError("the image is 2D; the model expects 3D images")
        if not np.isfinite(image).all():
            raise InputError("the image has voxels that are infinite or not a number (NaN); expected finite values")
        if (previous is None) != (description.previous_stage is None):
            raise InputError(
                f"the model is the second stage of a cascade; give the predictions of "
                f"{description.previous_stage} with -prev_stage_predictions"
                if previous is None
                else "the model is not a second stage; leave -prev_stage_predictions out"
            )
        if previous is not None and previous.shape != image.shape[1:]:
            raise InputError(
                f"the previous stage's labels have the shape {previous.shape}, the image {image.shape[1:]}"
            )
        return preprocess(image, spacing, description, previous)

    def logits(
        self,
        data: NDArray[np.float32],
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float16]:
        """Run the networks on what `prepare` returned; the logits `(K, Z, Y, X)` are in the network's geometry."""
        description = self.model.description
        with self._one_at_a_time:
            return predict_logits(
                data,
                self._networks,
                outputs=description.number_of_outputs,
                patch_size=description.patch_size,
                mirror_axes=description.mirror_axes if self.settings.mirroring else None,
                step_size=self.settings.step_size,
                new_array=self._zeros,
                progress=progress,
            )

    def labels(self, logits: NDArray[np.float16], geometry: PreprocessedGeometry) -> Labels:
        """Turn what `logits` returned into labels `(Z, Y, X)` of the image."""
        return self._postprocessed(labels_of(logits, geometry, self.model.description))

    def labels_and_probabilities(
        self, logits: NDArray[np.float16], geometry: PreprocessedGeometry
    ) -> tuple[Labels, NDArray[np.float32]]:
        """Turn what `logits` returned into labels `(Z, Y, X)` and probabilities `(K, Z, Y, X)` of the image."""
        labels, probabilities = labels_and_probabilities_of(logits, geometry, self.model.description)
        return self._postprocessed(labels), probabilities

    def _postprocessed(self, labels: Labels) -> Labels:
        return keep_largest(labels, self.model.description.postprocessing) if self.settings.postprocess else labels

    def _zeros(self, shape: tuple[int, ...]) -> NDArray[np.float16]:
        if 2 * int(np.prod(shape)) <= self.settings.in_memory_bytes:
            return np.zeros(shape, np.float16)
        with tempfile.TemporaryFile(dir=self.settings.scratch, prefix=".logits-") as file:  # the map keeps it open
            return np.memmap(file, np.float16, "w+", shape=shape)
