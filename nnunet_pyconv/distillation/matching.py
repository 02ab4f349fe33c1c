"""Whether a teacher fits its student: images preprocessed alike, and the same labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_pyconv.channel_names import channel_names
from nnunet_pyconv.errors import InputError

_BY_EACH_IMAGE = ("ZScoreNormalization", "NoNormalization", "RescaleTo01Normalization", "RGBTo01Normalization")
"""nnU-Net's normalisations that take no statistics of the dataset."""


@dataclass(frozen=True)
class ModelPlans:
    """What a network was planned for.

    Attributes:
        plans: nnU-Net's plans.
        configuration_name: For example `3d_fullres`.
        dataset_json: nnU-Net's `dataset.json`.
    """

    plans: PlansManager
    configuration_name: str
    dataset_json: dict[str, Any]

    @property
    def configuration(self) -> ConfigurationManager:
        """The configuration."""
        return self.plans.get_configuration(self.configuration_name)

    @property
    def labels(self) -> LabelManager:
        """The labels."""
        return self.plans.get_label_manager(self.dataset_json)

    def __str__(self) -> str:
        return f"{self.configuration_name} of {self.plans.plans_name} for {self.plans.dataset_name}"


def check_same_task(teacher: ModelPlans, student: ModelPlans) -> None:
    """Check that the teacher understands the student's preprocessed images, and that their outputs mean the same.

    They may differ in network, patch size, batch size, deep supervision, resampling and ignore label.

    Raises:
        InputError: They differ in what can't be bridged, or one is the second stage of a cascade.
    """
    for planned in (teacher, student):
        if planned.configuration.previous_stage_name is not None:
            raise InputError(
                f"{planned} is the second stage of a cascade, which needs the first one's segmentations; a teacher and "
                "its student must do without: use 2d, 3d_lowres or 3d_fullres"
            )
    differing = [
        f"  {name}: teacher {teachers}, student {students}"
        for name, of in _COMPARED.items()
        if (teachers := of(teacher)) != (students := of(student))
    ]
    if differing:
        raise InputError(
            f"the teacher ({teacher}) can't teach the student ({student}). They see the same preprocessed patches, and "
            "their outputs are compared channel by channel, but they differ in\n" + "\n".join(differing) + "\nTrain a "
            "teacher with the student's configuration and preprocessing, or plan the student with the teacher's "
            "(nnUNetv2_plan_experiment has -overwrite_target_spacing for a spacing, and "
            "nnUNetv2_move_plans_between_datasets takes plans to another dataset)"
        )


def _dimensions(planned: ModelPlans) -> str:
    return f"{len(planned.configuration.patch_size)}D"


def _spacing(planned: ModelPlans) -> str:
    return " x ".join(f"{spacing:.4g}" for spacing in planned.configuration.spacing) + " mm"


def _axes(planned: ModelPlans) -> list[int]:
    return list(planned.plans.transpose_forward)


def _channels(planned: ModelPlans) -> list[str]:
    return list(channel_names(planned.dataset_json))


def _preprocessor(planned: ModelPlans) -> str:
    return str(planned.configuration.preprocessor_name)


def _normalisation(planned: ModelPlans) -> list[str]:
    configuration = planned.configuration
    masked = [" inside the mask" if masked else "" for masked in configuration.use_mask_for_norm]
    return [scheme + where for scheme, where in zip(configuration.normalization_schemes, masked, strict=True)]


def _statistics(planned: ModelPlans) -> dict[str, str]:
    """The dataset's intensities by channel, where its normalisation takes them."""
    schemes = planned.configuration.normalization_schemes
    return {
        f"channel {channel}": ", ".join(f"{name} {value:.4g}" for name, value in sorted(properties.items()))
        for channel, properties in planned.plans.foreground_intensity_properties_per_channel.items()
        if schemes[int(channel)] not in _BY_EACH_IMAGE
    }


def _outputs(planned: ModelPlans) -> list[str]:
    """The output channels in their order: regions in that of `dataset.json`, classes by number."""
    labels = {name: label for name, label in planned.dataset_json["labels"].items() if name != "ignore"}
    described = [f"{name} {label}" for name, label in labels.items()]
    return described if planned.labels.has_regions else sorted(described, key=lambda label: int(label.split()[-1]))


_COMPARED: dict[str, Callable[[ModelPlans], object]] = {
    "dimensions": _dimensions,
    "target spacing": _spacing,
    "order of axes (transpose_forward)": _axes,
    "channels": _channels,
    "preprocessor": _preprocessor,
    "normalisation": _normalisation,
    "intensities of the dataset, which the normalisation takes": _statistics,
    "labels": _outputs,
}
