"""What we call, override and read of nnU-Net: a release that changes it fails here, by name, before it fails a user.

`CALLED` and `READ` list every name that the package imports from nnU-Net and its libraries (a test sees to it).
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import NnunetFolders
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from plans_of_nnunet import dataset_json, make_plans
from trainers_of_nnunet import make_trainer

from nnunet_pyconv.architectures import PYCONV_CLASSES
from nnunet_pyconv.planning.planners import PLANNERS
from nnunet_pyconv.trainers import (
    nnUNetTrainerPyConv,
    nnUNetTrainerPyConvBottleneck,
    nnUNetTrainerPyConvDilated,
    nnUNetTrainerPyConvPaper,
    nnUNetTrainerPyConvPaperBF16,
    nnUNetTrainerPyConvSeparable,
)
from nnunet_pyconv.trainers.boundary import BoundaryTrainer
from nnunet_pyconv.trainers.distilled import DistilledTrainer
from nnunet_pyconv.trainers.robust_checkpoints import RobustCheckpoints
from nnunet_pyconv.trainers.seed import SeededTrainer
from nnunet_pyconv.trainers.whole_pass_loader import WholePassDataLoader

ROOT = Path(__file__).parents[1]
LIBRARIES = ("nnunetv2", "dynamic_network_architectures", "batchgenerators", "batchgeneratorsv2")

PLANNERS_OF_NNUNET = "nnunetv2.experiment_planning.experiment_planners"
TRAINER = "nnunetv2.training.nnUNetTrainer.nnUNetTrainer:nnUNetTrainer"
PREDICTOR = "nnunetv2.inference.predict_from_raw_data:nnUNetPredictor"
FILES = "batchgenerators.utilities.file_and_folder_operations"
PLANS = "nnunetv2.utilities.plans_handling.plans_handler"
SCORES = "nnunetv2.evaluation.evaluate_predictions"
STEPS = "nnunetv2.experiment_planning.plan_and_preprocess_api"
LABELS = "nnunetv2.utilities.label_handling.label_handling"
LOSSES = "nnunetv2.training.loss"
UNETS = "dynamic_network_architectures.architectures.unet"

# who calls it, what, the parameters that are given: by position, then after * by name
CALLED = [
    ("nnUNetTrainerPyConv", f"{TRAINER}.__init__", "plans configuration fold dataset_json device"),
    (
        "nnUNetTrainerPyConv",
        f"{TRAINER}.build_network_architecture",
        "plans_manager configuration_manager num_input_channels num_output_channels enable_deep_supervision",
    ),
    ("benchmarks", f"{TRAINER}.set_deep_supervision_enabled", "enabled"),
    ("RobustCheckpoints", f"{TRAINER}.save_checkpoint", "filename"),
    ("RobustCheckpoints", f"{TRAINER}.load_checkpoint", "filename_or_checkpoint"),
    ("SeededTrainer", f"{TRAINER}.initialize", ""),
    ("DistilledTrainer", f"{TRAINER}.on_train_start", ""),
    ("DistilledTrainer", f"{TRAINER}.train_step", "batch"),
    ("DistilledTrainer", f"{TRAINER}.do_split", ""),
    ("DistilledTrainer", f"{TRAINER}._build_loss", ""),
    ("BoundaryTrainer", f"{TRAINER}._build_loss", ""),
    ("nnUNetTrainerPyConvPaperBF16", f"{TRAINER}.train_step", "batch"),
    ("distillation", "nnunetv2.utilities.utils:get_identifiers_from_splitted_dataset_folder", "folder file_ending"),
    ("nnUNetTrainerPyConvPaper", f"{TRAINER}.get_tr_and_val_datasets", ""),
    ("nnUNetTrainerPyConvPaper", f"{TRAINER}._get_deep_supervision_scales", ""),
    (
        "nnUNetTrainerPyConvPaper",
        f"{TRAINER}.get_validation_transforms",
        "deep_supervision_scales * foreground_labels regions ignore_label",
    ),
    (
        "WholePassDataLoader",
        "nnunetv2.training.dataloading.data_loader:nnUNetDataLoader.__init__",
        "data batch_size patch_size final_patch_size label_manager * transforms",
    ),
    ("nnUNetTrainerPyConvPaper", f"{LOSSES}.compound_losses:DC_and_BCE_loss.__init__",
     "bce_kwargs soft_dice_kwargs * weight_dice use_ignore_label"),
    ("nnUNetTrainerPyConvPaper", f"{LOSSES}.compound_losses:DC_and_CE_loss.__init__",
     "soft_dice_kwargs ce_kwargs * weight_dice ignore_label dice_class"),
    ("planning.memory", f"{LOSSES}.deep_supervision:DeepSupervisionWrapper.__init__", "loss weight_factors"),
    ("planning.memory", f"{LOSSES}.dice:MemoryEfficientSoftDiceLoss.__init__", "* batch_dice do_bg ddp"),
    ("nnUNetTrainerPyConvPaper", "nnunetv2.training.lr_scheduler.polylr:PolyLRScheduler.__init__",
     "optimizer initial_lr max_steps * exponent"),
    ("nnUNetTrainerPyConvPaper", "nnunetv2.utilities.default_n_proc_DA:get_allowed_n_proc_DA", ""),
    ("nnUNetTrainerPyConvPaper",
     "batchgenerators.dataloading.single_threaded_augmenter:SingleThreadedAugmenter.__init__", "data_loader transform"),
    ("nnUNetTrainerPyConvPaper", "batchgenerators.dataloading.multi_threaded_augmenter:MultiThreadedAugmenter.__init__",
     "data_loader transform num_processes * seeds pin_memory wait_time"),
    ("nnUNetTrainerPyConvPaper", "batchgeneratorsv2.transforms.utils.compose:ComposeTransforms.__init__", "transforms"),
    ("flips_and_rotations", "batchgeneratorsv2.transforms.utils.random:RandomTransform.__init__",
     "transform * apply_probability"),
    ("flips_and_rotations", "batchgeneratorsv2.transforms.spatial.mirroring:MirrorTransform.__init__",
     "* allowed_axes"),
    ("flips_and_rotations", "batchgeneratorsv2.transforms.spatial.rot90:Rot90Transform.__init__",
     "* num_axis_combinations num_rot_per_combination allowed_axes"),
    (
        "nnUNetPlannerPyConv",
        f"{PLANNERS_OF_NNUNET}.default_experiment_planner:ExperimentPlanner.__init__",
        "dataset_name_or_id gpu_memory_target_in_gb preprocessor_name plans_name overwrite_target_spacing "
        "suppress_transpose",
    ),
    ("planning", f"{PLANNERS_OF_NNUNET}.default_experiment_planner:ExperimentPlanner.plan_experiment", ""),
    (
        "nnUNetPlannerPyConvResEncM",
        f"{PLANNERS_OF_NNUNET}.residual_unets.residual_encoder_unet_planners:ResEncUNetPlanner.get_plans_for_configuration",
        "spacing median_shape data_identifier approximate_n_voxels_dataset _cache",
    ),
    ("benchmarks", f"{PLANNERS_OF_NNUNET}.network_topology:get_pool_and_conv_props",
     "spacing patch_size min_feature_map_size max_numpool"),
    (
        "planning",
        "nnunetv2.utilities.get_network_from_plans:get_network_from_plans",
        "arch_class_name arch_kwargs arch_kwargs_req_import input_channels output_channels "
        "* allow_init deep_supervision",
    ),
    ("planning", f"{LABELS}:determine_num_input_channels",
     "plans_manager configuration_or_config_manager dataset_json"),
    ("evaluation", f"{LABELS}:LabelManager.__init__", "label_dict regions_class_order"),
    ("planning", "nnunetv2.utilities.json_export:recursive_fix_for_json_export", "my_dict"),
    ("planning", "nnunetv2.utilities.dataset_name_id_conversion:find_candidate_datasets", "dataset_id"),
    ("planning", "nnunetv2.utilities.dataset_name_id_conversion:maybe_convert_to_dataset_name", "dataset_name_or_id"),
    ("planning", f"{PLANS}:PlansManager.__init__", "plans_file_or_dict"),
    ("planning", f"{PLANS}:PlansManager.get_configuration", "configuration_name"),
    ("planning", f"{PLANS}:PlansManager.get_label_manager", "dataset_json"),
    ("every module", f"{FILES}:load_json", "file"),
    ("every module", f"{FILES}:save_json", "obj file * sort_keys"),
    ("trainers.variants", "nnunetv2.utilities.find_class_by_name:recursive_find_python_class",
     "folder class_name current_module"),
    ("doctor", "nnunetv2.utilities.find_objects:recursive_find_trainer_class_by_name", "trainer_name"),
    ("evaluation", f"{SCORES}:compute_tp_fp_fn_tn", "mask_ref mask_pred"),
    ("evaluation", f"{SCORES}:region_or_label_to_mask", "segmentation region_or_label"),
    ("evaluation", f"{SCORES}:load_summary_json", "filename"),
    ("evaluation", "nnunetv2.imageio.reader_writer_registry:determine_reader_writer_from_dataset_json",
     "dataset_json_content example_file * verbose"),
    (
        "demo",
        f"{SCORES}:compute_metrics_on_folder",
        "folder_ref folder_pred output_file image_reader_writer file_ending regions_or_labels ignore_label * "
        "num_processes chill",
    ),
    ("demo", f"{STEPS}:extract_fingerprint_dataset", "dataset_id * num_processes check_dataset_integrity"),
    ("demo", f"{STEPS}:plan_experiment_dataset", "dataset_id"),
    ("demo", f"{STEPS}:preprocess_dataset", "dataset_id plans_identifier * configurations num_processes"),
    ("demo", "nnunetv2.run.run_training:get_trainer_from_args",
     "dataset_name_or_id configuration fold trainer_name plans_identifier * device"),
    ("sharing", "nnunetv2.utilities.file_path_utilities:folds_tuple_to_string", "folds"),
    (
        "sharing",
        "nnunetv2.postprocessing.remove_connected_components:remove_all_but_largest_component_from_segmentation",
        "segmentation labels_or_regions background_label",
    ),
    ("export", "nnunetv2.training.dataloading.nnunet_dataset:infer_dataset_class", "folder"),
    *(
        ("export", f"nnunetv2.preprocessing.resampling.{name}", "data new_shape current_spacing new_spacing")
        for name in (
            "default_resampling:resample_data_or_seg_to_shape",
            "resample_torch:resample_torch_fornnunet",
            "no_resampling:no_resampling_hack",
        )
    ),
    ("nnunet_folders", "nnunetv2.utilities.dataset_name_id_conversion:convert_dataset_name_to_id", "dataset_name"),
    ("demo", "nnunetv2.utilities.file_path_utilities:get_output_folder",
     "dataset_name_or_id trainer_name plans_identifier configuration"),
    ("benchmarks", f"{PREDICTOR}.__init__", "* device allow_tqdm"),
    ("demo", f"{PREDICTOR}.initialize_from_trained_model_folder", "model_training_output_dir * use_folds"),
    (
        "demo",
        f"{PREDICTOR}.predict_from_files",
        "list_of_lists_or_source_folder output_folder_or_list_of_truncated_output_files * num_processes_preprocessing "
        "num_processes_segmentation_export",
    ),
    (
        "benchmarks",
        f"{PREDICTOR}.manual_initialization",
        "network plans_manager configuration_manager parameters dataset_json trainer_name "
        "inference_allowed_mirroring_axes",
    ),
    ("benchmarks", f"{PREDICTOR}.predict_logits_from_preprocessed_data", "data"),
    (
        "dataset_conversion",
        "nnunetv2.dataset_conversion.generate_dataset_json:generate_dataset_json",
        "output_folder * channel_names labels num_training_cases file_ending description reference license "
        "converted_by",
    ),
    ("nn.convert", "dynamic_network_architectures.building_blocks.helper:maybe_convert_scalar_to_list",
     "conv_op scalar"),
]  # fmt: skip

# who reads it, what, the attributes that it must have
READ = [
    ("planning", f"{PLANS}:PlansManager", "available_configurations dataset_name experiment_planner_class "
     "experiment_planner_name image_reader_writer_class plans_name"),
    ("planning", f"{PLANS}:ConfigurationManager", "batch_size network_arch_class_name network_arch_init_kwargs "
     "network_arch_init_kwargs_req_import patch_size"),
    ("distillation", f"{PLANS}:PlansManager", "foreground_intensity_properties_per_channel transpose_forward"),
    ("distillation", f"{PLANS}:ConfigurationManager", "normalization_schemes pool_op_kernel_sizes preprocessor_name "
     "previous_stage_name spacing use_mask_for_norm"),
    ("evaluation", f"{LABELS}:LabelManager",
     "all_labels foreground_labels foreground_regions has_regions ignore_label num_segmentation_heads"),
    ("nnUNetPlannerPyConvResEncM",
     f"{PLANNERS_OF_NNUNET}.residual_unets.residual_encoder_unet_planners:ResEncUNetPlanner", ""),
    ("architectures", f"{UNETS}:PlainConvUNet", "forward"),
    ("architectures", f"{UNETS}:ResidualEncoderUNet", "forward"),
    ("designs.additions",
     "dynamic_network_architectures.building_blocks.simple_conv_blocks:ConvDropoutNormReLU", "forward"),
    ("flips_and_rotations", "batchgeneratorsv2.transforms.base.basic_transform:BasicTransform", ""),
    ("evaluation", "nnunetv2.imageio.natural_image_reader_writer:NaturalImage2DIO", "supported_file_endings"),
    ("evaluation", "nnunetv2.imageio.tif_reader_writer:Tiff3DIO", "supported_file_endings"),
    ("every command", "nnunetv2.configuration:default_num_processes", ""),
    *(("every module", f"nnunetv2.paths:nnUNet_{name}", "get require") for name in ("raw", "preprocessed", "results")),
    ("doctor", "nnunetv2.paths:nnUNet_extTrainer", ""),
]  # fmt: skip

TRAINERS = (
    nnUNetTrainerPyConv,
    nnUNetTrainerPyConvBottleneck,
    nnUNetTrainerPyConvDilated,
    nnUNetTrainerPyConvSeparable,
    nnUNetTrainerPyConvPaper,
    nnUNetTrainerPyConvPaperBF16,
    DistilledTrainer,
    BoundaryTrainer,
    SeededTrainer,
    RobustCheckpoints,
)
SUBCLASSES = (*TRAINERS, WholePassDataLoader, *PLANNERS.values(), *PYCONV_CLASSES.values())
ATTRIBUTES_OF_A_TRAINER = (
    "batch_size configuration_manager configuration_name current_epoch dataset_json device disable_checkpointing "
    "enable_deep_supervision fold grad_scaler initial_lr is_cascaded is_ddp label_manager local_rank log_file logger "
    "my_init_kwargs network num_epochs num_input_channels num_iterations_per_epoch num_val_iterations_per_epoch "
    "optimizer output_folder oversample_foreground_percent plans_manager save_every was_initialized weight_decay"
)
COMMANDS = "plan_and_preprocess plan_experiment extract_fingerprint preprocess train predict evaluate_folder"


def find(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def release(module: str) -> str:
    library = module.partition(".")[0]
    return f"{library} {metadata.version(library.replace('_', '-'))}"


def broken(relying: str, where: str, function: Callable[..., Any], given: str) -> Iterator[str]:
    """Say what of a call with these parameters a function wouldn't take."""
    parameters = {name: p for name, p in inspect.signature(function).parameters.items() if name != "self"}
    positional, names = given.partition("*")[0].split(), given.replace("*", " ").split()
    end = f", on which {relying} relies"
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in names:
        if name not in parameters and not takes_any:
            yield f"{where} lost the parameter {name}{end}"
    first = list(parameters)[: len(positional)]
    if first != positional:
        yield f"{where} takes first {', '.join(first)}, not {', '.join(positional)}{end}"
    for name, p in parameters.items():
        if name not in names and p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
            yield f"{where} requires the new parameter {name}, which {relying} doesn't give"


def not_overridden(ours: Callable[..., Any], base: Callable[..., Any]) -> Iterator[str]:
    """Say what nnU-Net may give to a method of its own that our method in its place wouldn't take."""
    taken = inspect.signature(ours).parameters
    if any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        return
    for name in inspect.signature(base).parameters:
        if name not in taken:
            yield (
                f"{release(base.__module__)}: {base.__qualname__} has the parameter {name}, which {ours.__qualname__} "
                "in its place doesn't take"
            )


@pytest.mark.parametrize(
    ("relying", "name", "parameters"), CALLED, ids=[name.partition(":")[2] for _, name, _ in CALLED]
)
def test_calls(relying: str, name: str, parameters: str) -> None:
    module, _, path = name.partition(":")
    try:
        function = find(name)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{release(module)} lost {module}.{path}, on which {relying} relies ({error})")
    problems = list(broken(relying, f"{release(module)}: {path}", function, parameters))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(("relying", "name", "attributes"), READ, ids=[name.partition(":")[2] for _, name, _ in READ])
def test_attributes(relying: str, name: str, attributes: str) -> None:
    module, _, path = name.partition(":")
    try:
        found = find(name)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{release(module)} lost {module}.{path}, on which {relying} relies ({error})")
    lost = [attribute for attribute in attributes.split() if not hasattr(found, attribute)]
    assert not lost, f"{release(module)}: {path} lost {', '.join(lost)}, on which {relying} relies"


@pytest.mark.parametrize("ours", SUBCLASSES, ids=lambda cls: cls.__name__)
def test_overrides(ours: type) -> None:
    """Each method that stands in the place of one of nnU-Net's takes what that takes."""
    bases = [base for base in ours.__mro__ if base.__module__.startswith(LIBRARIES)]
    problems = []
    for method in vars(ours):
        base = next((vars(base)[method] for base in bases if method in vars(base)), None)
        # nnU-Net makes no WholePassDataLoader
        if inspect.isroutine(base) and (ours, method) != (WholePassDataLoader, "__init__"):
            problems += not_overridden(getattr(ours, method), getattr(base, "__func__", base))
    assert bases
    assert not problems, "\n".join(problems)


def test_attributes_of_a_trainer(nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda _: None)
    trainer = make_trainer(make_plans(), "2d", dataset_json(), nnUNetTrainer)
    lost = [name for name in ATTRIBUTES_OF_A_TRAINER.split() if not hasattr(trainer, name)]
    assert not lost, f"{release('nnunetv2')}: nnUNetTrainer lost {', '.join(lost)}, on which our trainers rely"


@pytest.mark.parametrize("command", COMMANDS.split())
def test_console_scripts(command: str) -> None:
    scripts = {script.name: script for script in metadata.entry_points(group="console_scripts")}
    assert f"nnUNetv2_{command}" in scripts, f"{release('nnunetv2')} lost the command nnUNetv2_{command}"
    assert callable(scripts[f"nnUNetv2_{command}"].load())


def test_tables_are_complete() -> None:
    """Every name that our code imports of these libraries is in a table."""
    listed = {name for _, name, _ in CALLED + READ}
    missing = set()
    for folder in ("nnunet_pyconv", "dataset_conversion"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
                    names = {f"{node.module}:{alias.name}" for alias in node.names}
                    missing |= {
                        name for name in names if not any(f"{entry}.".startswith(f"{name}.") for entry in listed)
                    }
    assert not missing


def made(a: int, b: int, *, c: int = 0) -> None:
    """Stand for a function of nnU-Net."""


def made_anew(b: int, d: int, a: int = 0) -> None:
    """Stand for its next release."""


def test_a_change_is_named() -> None:
    assert not list(broken("us", "lib 1: made", made, "a b * c"))
    assert not list(broken("us", "lib 1: made", made, "* b a"))
    assert list(broken("us", "lib 2: made", made_anew, "a b * c")) == [
        "lib 2: made lost the parameter c, on which us relies",
        "lib 2: made takes first b, d, not a, b, on which us relies",
        "lib 2: made requires the new parameter d, which us doesn't give",
    ]
    made_anew.__module__ = torch.__name__
    assert list(not_overridden(made, made_anew)) == [
        f"torch {metadata.version('torch')}: made_anew has the parameter d, which made in its place doesn't take"
    ]
