"""The description of a model: what its file's `model.json` holds, and what prediction needs to know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from nnunet_pyconv.runtime.errors import InputError

SCHEMA = 1
"""Version of the schema; it grows when an older runtime would misread a newer file."""

Precision = Literal["fp32", "fp16", "int8"]
Device = Literal["cpu", "cuda", "mps", "openvino"]
ReaderName = Literal[
    "NaturalImage2DIO", "SimpleITKIO", "SimpleITKIOWithReorient", "Tiff3DIO", "NibabelIO", "NibabelIOWithReorient"
]
SchemeName = Literal[
    "ZScoreNormalization",
    "CTNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
]
ResamplingName = Literal["resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack"]


@dataclass(frozen=True)
class Network:
    """The network of one fold.

    Attributes:
        file: Name of its ONNX file in the model file.
        fold: `0` to `4` or `all`.
    """

    file: str
    fold: str


@dataclass(frozen=True)
class Normalization:
    """How nnU-Net normalises a channel (preprocessing/normalization).

    Attributes:
        scheme: Name of nnU-Net's class, for example `ZScoreNormalization`.
        use_mask: Whether mean and standard deviation are those inside the nonzero region.
        mean: Of the foreground of the training cases; for `CTNormalization`, as the next three.
        std: Standard deviation there.
        lower: Its 0.5th percentile.
        upper: Its 99.5th percentile.
    """

    scheme: SchemeName
    use_mask: bool
    mean: float
    std: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Resampling:
    """How nnU-Net resamples (preprocessing/resampling).

    Attributes:
        function: Name of nnU-Net's function.
        is_seg: Whether labels are resampled.
        order: Of the spline within a slice, or in all three axes.
        order_z: Of the spline between slices where these are resampled separately.
        force_separate_z: Whether they are; None to derive it from the spacing.
    """

    function: ResamplingName
    is_seg: bool = False
    order: int = 3
    order_z: int = 0
    force_separate_z: bool | None = None


@dataclass(frozen=True)
class Description:
    """All that prediction needs to know of a model besides its weights.

    Axes are those of the arrays that nnU-Net reads, (z, y, x); where the text says "transposed", they have been
    permuted by `transpose_forward`.

    Attributes:
        schema: Version of this schema.
        name: `DATASET/TRAINER__PLANS__CONFIGURATION`.
        configuration: nnU-Net's configuration, for example `2d`.
        precision: Of the networks: `fp32`; `fp16` stores the weights in half precision and computes in float32; `int8`
            stores the convolutions in 8 bit, and computes those without groups in it, but for a few in float32.
        opset: Version of the ONNX operators.
        networks: One for each fold; their logits are averaged.
        channels: Names of the image channels, in the order of the files `_0000`, `_0001`, ...
        file_ending: Of images and predictions, for example `.nii.gz`.
        reader: Name of nnU-Net's reader and writer, for example `SimpleITKIO`.
        transpose_forward: Order in which the image's axes go through the network.
        transpose_backward: Its inverse.
        spacing: Target spacing in mm, transposed; two numbers for a network of slices.
        patch_size: Size of the network's input, transposed; two numbers for a network of slices.
        normalization: Of each channel.
        resample_image: Of the normalised image.
        resample_previous: Of the previous stage's labels, in a cascade.
        resample_logits: Of the networks' output.
        labels: Names and values as in nnU-Net's `dataset.json`: an int, or a list of ints for a region.
        regions_class_order: The value written for each region, in the order of the network's outputs; None where the
            outputs are labels.
        mirror_axes: Axes along which the input is mirrored, 0 the first of `patch_size`; None without mirroring.
        previous_stage: The configuration whose predictions are a further input, or None.
        postprocessing: For each step the labels of whose union the largest component is kept, in order; what
            `nnUNetv2_find_best_configuration` found, and applied with `--postprocess` only.
        sha256: Hash of every other member of data of the file.
        versions: What the file was made with.
    """

    name: str
    configuration: str
    precision: Precision
    opset: int
    networks: tuple[Network, ...]
    channels: tuple[str, ...]
    file_ending: str
    reader: ReaderName
    transpose_forward: tuple[int, ...]
    transpose_backward: tuple[int, ...]
    spacing: tuple[float, ...]
    patch_size: tuple[int, ...]
    normalization: tuple[Normalization, ...]
    resample_image: Resampling
    resample_previous: Resampling
    resample_logits: Resampling
    labels: Mapping[str, Any]
    regions_class_order: tuple[int, ...] | None
    mirror_axes: tuple[int, ...] | None
    previous_stage: str | None
    postprocessing: tuple[tuple[int, ...], ...]
    sha256: Mapping[str, str]
    versions: Mapping[str, str]
    schema: int = SCHEMA

    @property
    def foreground_labels(self) -> tuple[int, ...]:
        """All labels that occur, 0 and the ignore label aside, in ascending order."""
        values = [value for name, value in self.labels.items() if name != "ignore"]
        flat = {int(v) for value in values for v in (value if isinstance(value, (list, tuple)) else [value])}
        return tuple(sorted(flat - {0}))

    @property
    def number_of_outputs(self) -> int:
        """Channels of the network's output."""
        return len(self.regions_class_order or (0, *self.foreground_labels))

    def to_json(self) -> str:
        """The text of `model.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"


def read_description(text: bytes, where: str) -> Description:
    """Read a `model.json`.

    Args:
        text: Its content.
        where: The model file, for the error message.

    Raises:
        InputError: No such JSON, or one of a newer schema.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        schema = int(content["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(where, error) from error
    if schema != SCHEMA:
        raise InputError(
            f"{where} has a model of schema {schema} and this version of nnunet-pyconv reads schema {SCHEMA}; "
            "run the file itself (python MODEL.pyz ...), if you trust its source, or: "
            "pip install --upgrade nnunet-pyconv"
        )
    try:
        description = _parse(content)
        _check(description)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(where, error) from error
    return description


def _parse(content: dict[str, Any]) -> Description:
    tuples = (
        "channels", "transpose_forward", "transpose_backward", "spacing", "patch_size", "regions_class_order",
        "mirror_axes",
    )  # fmt: skip
    read: dict[str, Any] = {
        **content,
        **{key: None if content[key] is None else tuple(content[key]) for key in tuples},
        "networks": tuple(Network(**network) for network in content["networks"]),
        "normalization": tuple(Normalization(**channel) for channel in content["normalization"]),
        "postprocessing": tuple(tuple(step) for step in content["postprocessing"]),
        **{key: Resampling(**content[key]) for key in ("resample_image", "resample_previous", "resample_logits")},
    }
    return Description(**read)


def _check(description: Description) -> None:
    """Raise ValueError where the parts contradict each other."""
    axes = len(description.patch_size)
    if axes not in (2, 3) or len(description.spacing) != axes or min(description.patch_size) < 1:
        raise ValueError(f"patch_size {description.patch_size} and spacing {description.spacing} do not fit")
    if min(description.spacing) <= 0:
        raise ValueError(f"spacing {description.spacing} is not positive")
    for order in (description.transpose_forward, description.transpose_backward):
        if sorted(order) != [0, 1, 2]:
            raise ValueError(f"{order} is no order of three axes")
    if len(description.normalization) != len(description.channels) or not description.channels:
        raise ValueError(f"{len(description.normalization)} normalisations for {len(description.channels)} channels")
    if description.mirror_axes is not None and not set(description.mirror_axes) <= set(range(axes)):
        raise ValueError(f"mirror_axes {description.mirror_axes} are not axes of the patch")
    if not description.networks:
        raise ValueError("no networks")
    resamplings = (description.resample_image, description.resample_previous, description.resample_logits)
    for name, names in (
        (description.precision, Precision),
        (description.reader, ReaderName),
        *((channel.scheme, SchemeName) for channel in description.normalization),
        *((resampling.function, ResamplingName) for resampling in resamplings),
    ):
        if name not in get_args(names):
            raise ValueError(f"{name!r} is unknown; expected one of {', '.join(get_args(names))}")
    description.number_of_outputs  # noqa: B018  # labels that are no numbers raise


def _damaged(where: str, error: Exception) -> InputError:
    return InputError(f"{where} has a damaged model.json ({error!r}); export the model again, or ask for it again")
