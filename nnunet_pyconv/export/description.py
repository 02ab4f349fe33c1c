"""The description of a trained model, from nnU-Net's plans, `dataset.json` and checkpoint."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.preprocessing.resampling.no_resampling import no_resampling_hack
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet
from nnunetv2.utilities.file_path_utilities import folds_tuple_to_string

from nnunet_pyconv.channel_names import channel_names
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.runtime.description import (
    Description,
    Network,
    Normalization,
    Precision,
    ReaderName,
    Resampling,
    ResamplingName,
    SchemeName,
)
from nnunet_pyconv.runtime.resampling import ANISOTROPY_THRESHOLD
from nnunet_pyconv.sharing.model_folder import ModelFolder

_RESAMPLING = {
    function.__name__: function
    for function in (resample_data_or_seg_to_shape, resample_torch_fornnunet, no_resampling_hack)
}
_KEEP_LARGEST = "remove_all_but_largest_component_from_segmentation"
# arguments of nnU-Net's functions that change nothing, or that the runtime knows with this value only
_WITHOUT_EFFECT = ("num_threads", "device")
_FIXED = {
    "separate_z_anisotropy_threshold": ANISOTROPY_THRESHOLD,
    "memefficient_seg_resampling": False,
    "mode": "linear",
    "aniso_axis_mode": "nearest-exact",
}


def describe(
    model: ModelFolder,
    *,
    mirror_axes: Sequence[int] | None,
    networks: Sequence[Network],
    precision: Precision,
    opset: int,
    versions: Mapping[str, str],
) -> Description:
    """Describe a model.

    Args:
        model: Its folder.
        mirror_axes: Of its checkpoint.
        networks: Its ONNX files.
        precision: Theirs.
        opset: Theirs.
        versions: What makes the file.

    Returns:
        The description, its hashes not filled in.

    Raises:
        InputError: Preprocessing of the user's own, which the runtime does not have.
    """
    plans, configuration = model.plans, model.configuration_manager
    label_manager = plans.get_label_manager(model.dataset_json)
    _expect("preprocessor", configuration.preprocessor_name, ["DefaultPreprocessor"])
    _expect("label manager", type(label_manager).__name__, ["LabelManager"])
    reader = plans.plans["image_reader_writer"]
    _expect("reader", reader, get_args(ReaderName))
    return Description(
        name=model.model,
        configuration=model.setup.configuration,
        precision=precision,
        opset=opset,
        networks=tuple(networks),
        channels=channel_names(model.dataset_json),
        file_ending=model.dataset_json["file_ending"],
        reader=reader,
        transpose_forward=tuple(plans.transpose_forward),
        transpose_backward=tuple(plans.transpose_backward),
        spacing=tuple(float(size) for size in configuration.spacing),
        patch_size=tuple(int(size) for size in configuration.patch_size),
        normalization=_normalization(model),
        resample_image=_resampling(configuration.configuration, "data"),
        resample_previous=_resampling(configuration.configuration, "seg"),
        resample_logits=_resampling(configuration.configuration, "probabilities"),
        labels=model.dataset_json["labels"],
        regions_class_order=tuple(model.dataset_json["regions_class_order"]) if label_manager.has_regions else None,
        mirror_axes=tuple(mirror_axes) if mirror_axes else None,
        previous_stage=configuration.previous_stage_name,
        postprocessing=_postprocessing(model),
        sha256={},
        versions=dict(versions),
    )


def _normalization(model: ModelFolder) -> tuple[Normalization, ...]:
    configuration = model.configuration_manager
    found = []
    for channel, (scheme, use_mask) in enumerate(
        zip(configuration.normalization_schemes, configuration.use_mask_for_norm, strict=True)
    ):
        _expect("normalisation", scheme, get_args(SchemeName))
        intensities = model.plans.foreground_intensity_properties_per_channel[str(channel)]
        mean, std, lower, upper = (
            float(intensities[key]) for key in ("mean", "std", "percentile_00_5", "percentile_99_5")
        )
        found.append(Normalization(scheme, bool(use_mask), mean, std, lower, upper))
    return tuple(found)


def _resampling(configuration: Mapping[str, Any], what: str) -> Resampling:
    name = configuration[f"resampling_fn_{what}"]
    _expect("resampling function", name, get_args(ResamplingName))
    parameters = inspect.signature(_RESAMPLING[name]).parameters
    defaults = {key: p.default for key, p in parameters.items() if p.default is not p.empty}
    arguments = {**defaults, **configuration[f"resampling_fn_{what}_kwargs"]}
    for key in _WITHOUT_EFFECT:
        arguments.pop(key, None)
    for key, value in _FIXED.items():
        if arguments.pop(key, value) != value:
            raise InputError(f"{name} with another {key} than {value} can't be exported; plan and train without it")
    unknown = arguments.keys() - {"is_seg", "order", "order_z", "force_separate_z"}
    if unknown:
        raise InputError(f"{name} with {', '.join(sorted(unknown))} can't be exported; plan and train without it")
    return Resampling(name, **arguments)


def _postprocessing(model: ModelFolder) -> tuple[tuple[int, ...], ...]:
    """Read what nnUNetv2_find_best_configuration found for these folds."""
    numbers = [int(fold) if fold.isdigit() else fold for fold in model.folds]
    file = model.path / f"crossval_results_folds_{folds_tuple_to_string(numbers)}" / "postprocessing.json"
    if not file.is_file():
        return ()
    try:
        content = json.loads(file.read_text("utf-8"))
        steps = []
        for name, arguments in zip(content["postprocessing_fns"], content["postprocessing_kwargs"], strict=True):
            _expect("post-processing", name, [_KEEP_LARGEST])
            steps.append(tuple(_flat(arguments["labels_or_regions"])))
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} is not what nnU-Net writes ({error!r}); find the best configuration again") from error
    return tuple(steps)


def _flat(labels: Any) -> list[int]:
    return [label for part in labels for label in _flat(part)] if isinstance(labels, list) else [int(labels)]


def _expect(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise InputError(
            f"the model has the {what} {name}, which prediction without torch does not know, only {', '.join(known)}; "
            "predict with nnUNetv2_predict"
        )
