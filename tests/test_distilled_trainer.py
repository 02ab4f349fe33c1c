"""Trainers with a teacher: which teachers they take, how they train, and what they leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import NnunetFolders
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from plans_of_nnunet import DATASET
from teachers import DATASET_JSON, SPLITS, make_trainer, plans_2d, plans_3d, write_split, write_teacher

from nnunet_pyconv.distillation import TEACHER_VARIABLE, DistillationLoss
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nn.pyconv import PyConv
from nnunet_pyconv.planning import swap_plans
from nnunet_pyconv.trainer_dir import TRAINER_DIR
from nnunet_pyconv.trainers import nnUNetTrainerDistilled, nnUNetTrainerPyConv, nnUNetTrainerPyConvDistilled
from nnunet_pyconv.trainers.distilled import DistilledTrainer

OTHER_DATASET = "Dataset313_Other"
REGIONS = {"background": 0, "whole": [1, 2], "core": 2}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, nnunet_folders: NnunetFolders) -> None:
    """nnU-Net's folders, our trainers, and a start of the training that needs no images."""
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))
    monkeypatch.delenv(TEACHER_VARIABLE, raising=False)
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: self.was_initialized or self.initialize())


@pytest.fixture
def split(nnunet_folders: NnunetFolders) -> None:
    write_split(nnunet_folders, test=["t"])


@pytest.fixture
def teach(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def name(folder: Path, folds: str = "") -> None:
        monkeypatch.setenv(TEACHER_VARIABLE, f"{folder}{folds}")

    return name


def started(student: nnUNetTrainer) -> Any:
    torch.manual_seed(0)
    student.on_train_start()
    return student


def make_batch(student: nnUNetTrainer, ignored: bool = False) -> dict[str, Any]:
    """A batch of noise, of the background or of ignored voxels alone."""
    size = [student.batch_size, student.num_input_channels, *student.configuration_manager.patch_size]
    n_targets = len(student.label_manager.foreground_regions) if student.label_manager.has_regions else 1
    label = student.label_manager.ignore_label if ignored else 0
    scales = student._get_deep_supervision_scales() or [[1] * (len(size) - 2)]
    targets = []
    for scale in scales:
        scaled = [round(edge * factor) for edge, factor in zip(size[2:], scale, strict=True)]
        targets.append(torch.full((size[0], n_targets, *scaled), float(label)))
    return {"data": torch.randn(size), "target": targets if student.enable_deep_supervision else targets[0]}


def learns_that_all_is_cell(student: Any, batch: dict[str, Any]) -> bool:
    """Train with a teacher that says so, and look."""
    with torch.no_grad():
        student.teacher.networks[0].decoder.seg_layers[-1].bias += torch.tensor([-5.0, 5.0])
    for _ in range(10):
        student.train_step(deepcopy(batch))
    with torch.no_grad():
        output = student.network(batch["data"])
    logits = output[0] if isinstance(output, list | tuple) else output
    return bool(logits.softmax(1)[:, 1].mean() > 0.8)


@pytest.mark.slow
@pytest.mark.usefixtures("split")
@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("nnUNetTrainerDistilled", nnUNetTrainerDistilled),
        ("nnUNetTrainerPyConvDistilled", nnUNetTrainerPyConvDistilled),
        ("nnUNetTrainerDistilled_50epochs", nnUNetTrainerDistilled),
        ("nnUNetTrainerPyConvDistilled_50epochs", nnUNetTrainerPyConvDistilled),
        ("nnUNetTrainerPyConvDistilledNoDeepSupervision", nnUNetTrainerPyConvDistilled),
        ("nnUNetTrainerDistilledCELoss", nnUNetTrainerDistilled),
    ],
)
def test_every_trainer_learns_from_its_teacher(
    name: str, base: type[nnUNetTrainer], teach: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels, which have no weight here, say the contrary."""
    teach(write_teacher(plans_2d(), trainer=nnUNetTrainer))
    trainer = recursive_find_trainer_class_by_name(name)
    assert issubclass(trainer, base)
    monkeypatch.setattr(trainer, "soft_weight", 1.0)
    student = started(make_trainer(trainer, plans_2d()))
    assert student.num_epochs == (50 if name.endswith("_50epochs") else 1000)
    swapped = any(isinstance(module, PyConv) for module in student.network.modules())
    assert swapped == issubclass(base, nnUNetTrainerPyConv)
    assert learns_that_all_is_cell(student, make_batch(student))


@pytest.mark.usefixtures("split")
def test_step_by_hand(teach: Callable[..., None]) -> None:
    """The loss that the step returns is the mean of nnU-Net's and of the divergence; validation has nnU-Net's alone."""
    teach(write_teacher(plans_2d()))
    student = started(make_trainer(nnUNetTrainerDistilled, plans_2d()))
    batch = make_batch(student)
    outputs = student.network(batch["data"])
    labels_loss = nnUNetTrainer._build_loss(student)
    divergence = DistillationLoss(labels_loss, soft_weight=1, temperature=2, regions=False)
    expected_labels = labels_loss(outputs, batch["target"]).item()
    expected_soft = divergence(outputs, [*batch["target"], student.teacher(batch["data"])]).item()
    student.network.eval()
    with torch.no_grad():
        assert student.validation_step(deepcopy(batch))["loss"] == pytest.approx(expected_labels, rel=1e-4)
    student.network.train()
    step = student.train_step(deepcopy(batch))
    assert expected_soft > 0
    assert step["loss"] == pytest.approx(0.5 * expected_labels + 0.5 * expected_soft, rel=1e-4)


@pytest.mark.usefixtures("split")
@pytest.mark.parametrize(
    ("plans", "configuration", "dataset_json"),
    [
        pytest.param(plans_3d(), "3d_fullres", DATASET_JSON, id="3d"),
        pytest.param(
            plans_2d(), "2d", {**DATASET_JSON, "labels": REGIONS, "regions_class_order": [1, 2]}, id="regions"
        ),
    ],
)
def test_steps_of_other_configurations(
    plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any], teach: Callable[..., None]
) -> None:
    teach(write_teacher(plans, dataset_json=dataset_json, configuration=configuration))
    student = started(make_trainer(nnUNetTrainerPyConvDistilled, plans, 0, dataset_json, configuration))
    assert student.loss.regions == ("regions_class_order" in dataset_json)
    losses = [float(student.train_step(make_batch(student))["loss"]) for _ in range(2)]
    assert torch.isfinite(torch.tensor(losses)).all()


@pytest.mark.usefixtures("split")
def test_images_without_labels(teach: Callable[..., None]) -> None:
    """Where all is ignored the teacher alone teaches; it may have been trained without an ignore label."""
    teach(write_teacher(plans_2d()))
    ignoring = {**DATASET_JSON, "labels": {"background": 0, "cell": 1, "ignore": 2}}
    student = started(make_trainer(nnUNetTrainerDistilled, plans_2d(), dataset_json=ignoring))
    assert learns_that_all_is_cell(student, make_batch(student, ignored=True))


@pytest.mark.usefixtures("split")
@pytest.mark.parametrize("trainer", [nnUNetTrainer, nnUNetTrainerPyConv])
def test_teacher_with_another_network_and_patch(trainer: type[nnUNetTrainer], teach: Callable[..., None]) -> None:
    """Residual encoder, four stages and 32 x 32 teach a PyConvUNet of plans, three stages and 28 x 36."""
    of_teacher = plans_2d("ResidualEncoderUNet")
    architecture = of_teacher["configurations"]["2d"]["architecture"]["arch_kwargs"]
    for per_stage in (
        "features_per_stage",
        "kernel_sizes",
        "strides",
        "n_blocks_per_stage",
        "n_conv_per_stage_decoder",
    ):
        architecture[per_stage] = [*architecture[per_stage], architecture[per_stage][-1]]
    architecture["n_stages"] = 4
    teach(write_teacher(of_teacher, trainer=trainer))
    of_student, _ = swap_plans(plans_2d(), DATASET_JSON, "nnUNetPyConvPlans")
    of_student["configurations"]["2d"]["patch_size"] = [28, 36]
    student = started(make_trainer(nnUNetTrainerPyConvDistilled, of_student))
    assert type(student.network).__name__ == "PyConvUNet"
    assert student.teacher.padded_size([28, 36]) == [32, 40]
    assert torch.isfinite(torch.as_tensor(student.train_step(make_batch(student))["loss"]))


@pytest.mark.usefixtures("split")
def test_what_a_training_leaves(teach: Callable[..., None], tmp_path: Path) -> None:
    folder = write_teacher(plans_2d(), folds=(0,))
    teach(folder)
    student = started(make_trainer(nnUNetTrainerDistilled, plans_2d()))
    student._save_debug_information()
    debug = json.loads((Path(student.output_folder) / "debug.json").read_text())
    assert debug["teacher_name"] == f"{folder}:0"
    assert (debug["soft_weight"], debug["temperature"]) == ("0.5", "2.0")
    (log,) = Path(student.output_folder).glob("training_log*.txt")
    assert f"Teacher: {folder}:0, 2d of nnUNetPlans for {DATASET}, trained by nnUNetTrainer" in log.read_text()
    assert "it has seen none of 2 validation cases and 1 test cases" in log.read_text()
    stock = make_trainer(nnUNetTrainer, plans_2d())
    stock.initialize()
    assert student.network.state_dict().keys() == stock.network.state_dict().keys()
    assert not list(student.loss.parameters())
    student.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    stock.save_checkpoint(str(tmp_path / "stock.pth"))
    checkpoint, stocks = (torch.load(tmp_path / f"{name}.pth", weights_only=False) for name in ("checkpoint", "stock"))
    assert checkpoint.keys() == stocks.keys()
    assert checkpoint["init_args"]["nnunet_pyconv_teacher"] == f"{folder}:0"


@pytest.mark.usefixtures("split")
def test_goes_on_with_the_teacher_of_the_checkpoint(
    teach: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = write_teacher(plans_2d(), folds=(0,))
    teach(folder)
    student = started(make_trainer(nnUNetTrainerDistilled, plans_2d()))
    checkpoint = tmp_path / "checkpoint_latest.pth"
    student.save_checkpoint(str(checkpoint))
    monkeypatch.delenv(TEACHER_VARIABLE)
    resumed = make_trainer(nnUNetTrainerDistilled, plans_2d())
    resumed.load_checkpoint(str(checkpoint))  # which --val does as well, and needs no teacher
    assert started(resumed).teacher_name == student.teacher_name
    moved = folder.rename(tmp_path / "moved")
    teach(moved)
    resumed.load_checkpoint(str(checkpoint))
    resumed.on_train_start()
    log = "".join(file.read_text() for file in Path(resumed.output_folder).glob("training_log*.txt"))
    assert f"WARNING: until now the teacher was {folder}:0" in log
    assert resumed.my_init_kwargs["nnunet_pyconv_teacher"] == f"{moved}:0"


@pytest.mark.usefixtures("split")
def test_no_teacher() -> None:
    student = make_trainer(nnUNetTrainerDistilled, plans_2d())
    with pytest.raises(
        InputError, match=rf"NNUNET_PYCONV_TEACHER is not set.*results/{DATASET}/nnUNetTrainer__nnUNetPl"
    ):
        student.on_train_start()


@pytest.mark.usefixtures("split")
def test_teacher_of_itself(teach: Callable[..., None]) -> None:
    student = make_trainer(nnUNetTrainerDistilled, plans_2d())
    teach(Path(student.output_folder_base))
    with pytest.raises(InputError, match=r"Distilled__nnUNetPlans__2d:0 is the model that is to be trained"):
        student.on_train_start()


def changed(plans: dict[str, Any], configuration: str = "2d", **entries: Any) -> dict[str, Any]:
    plans["configurations"][configuration] |= entries
    return plans


CT = {"normalization_schemes": ["CTNormalization"]}
OTHER_INTENSITIES = {"foreground_intensity_properties_per_channel": {"0": {"mean": 101.0, "std": 20.0}}}


@pytest.mark.usefixtures("split")
@pytest.mark.parametrize(
    ("of_teacher", "json_of_teacher", "of_student", "message"),
    [
        pytest.param(
            changed(plans_2d(), spacing=[1.0, 0.5]), {}, plans_2d(),
            "target spacing: teacher 1 x 0.5 mm, student 1 x 1 mm", id="spacing"),
        pytest.param(
            plans_2d() | {"transpose_forward": [0, 2, 1]}, {}, plans_2d(),
            r"order of axes \(transpose_forward\): teacher \[0, 2, 1\], student \[0, 1, 2\]", id="axes"),
        pytest.param(
            changed(plans_2d(), normalization_schemes=["NoNormalization"]), {}, plans_2d(),
            r"normalisation: teacher \['NoNormalization'\], student \['ZScoreNormalization'\]", id="normalisation"),
        pytest.param(
            changed(plans_2d(), use_mask_for_norm=[True]), {}, plans_2d(),
            r"normalisation: teacher \['ZScoreNormalization inside the mask'\], student", id="mask"),
        pytest.param(
            changed(plans_2d(), preprocessor_name="Other"), {}, plans_2d(),
            "preprocessor: teacher Other, student DefaultPreprocessor", id="preprocessor"),
        pytest.param(
            changed(plans_2d(), **CT) | OTHER_INTENSITIES, {}, changed(plans_2d(), **CT),
            "intensities of the dataset.*'mean 101, std 20'}, student {'channel 0': 'mean 100, std 20'}", id="CT"),
        pytest.param(
            plans_2d(), {"labels": {"background": 0, "nucleus": 1}}, plans_2d(),
            r"labels: teacher \['background 0', 'nucleus 1'\], student \['background 0', 'cell 1'\]", id="labels"),
        pytest.param(
            plans_2d(), {"labels": REGIONS, "regions_class_order": [1, 2]}, plans_2d(),
            r"labels: teacher \['background 0', 'whole \[1, 2\]', 'core 2'\], student", id="regions"),
        pytest.param(
            plans_2d(), {"channel_names": {"0": "light"}}, plans_2d(),
            r"channels: teacher \['light'\], student \['EM'\]", id="channels"),
    ],
)  # fmt: skip
def test_teacher_of_something_else(
    of_teacher: dict[str, Any],
    json_of_teacher: dict[str, Any],
    of_student: dict[str, Any],
    message: str,
    teach: Callable[..., None],
) -> None:
    teach(write_teacher(of_teacher, dataset_json={**DATASET_JSON, **json_of_teacher}))
    with pytest.raises(InputError, match=message) as refusal:
        make_trainer(nnUNetTrainerDistilled, of_student).on_train_start()
    assert str(refusal.value).count(": teacher ") == 1  # and nothing else differs


@pytest.mark.usefixtures("split")
def test_teacher_of_other_dimensions(teach: Callable[..., None]) -> None:
    teach(write_teacher(plans_3d(), configuration="3d_fullres"))
    with pytest.raises(InputError, match="dimensions: teacher 3D, student 2D"):
        make_trainer(nnUNetTrainerDistilled, plans_2d()).on_train_start()


@pytest.mark.usefixtures("split")
def test_what_is_not_used_may_differ(teach: Callable[..., None]) -> None:
    """Statistics of the dataset where each image is normalised by its own; the order of the labels."""
    teach(
        write_teacher(
            plans_2d() | OTHER_INTENSITIES, dataset_json=DATASET_JSON | {"labels": {"cell": 1, "background": 0}}
        )
    )
    started(make_trainer(nnUNetTrainerDistilled, plans_2d()))


@pytest.mark.usefixtures("split")
def test_cascade(teach: Callable[..., None]) -> None:
    teach(write_teacher(plans_3d(), configuration="3d_fullres"))
    student = make_trainer(nnUNetTrainerDistilled, plans_3d(), configuration="3d_cascade_fullres")
    with pytest.raises(InputError, match="^3d_cascade_fullres of nnUNetPlans .* is the second stage of a cascade"):
        student.on_train_start()


def start_student(fold: int | str, plans: dict[str, Any] | None = None) -> DistilledTrainer:
    student: DistilledTrainer = started(make_trainer(nnUNetTrainerDistilled, plans or plans_2d(), fold))
    return student


@pytest.mark.usefixtures("split")
@pytest.mark.parametrize(("student_fold", "folds"), [(0, ""), (1, ""), ("all", ":0,1"), ("all", ":all"), ("all", "")])
def test_teachers_that_have_not_seen_what_is_scored(
    student_fold: int | str, folds: str, teach: Callable[..., None]
) -> None:
    """The student's own fold; for the fold all, which nnU-Net validates on its training cases, any."""
    teach(write_teacher(plans_2d(), folds=(0, 1, "all")), folds)
    expected = folds.removeprefix(":") or str(student_fold)
    assert str(start_student(student_fold).teacher_name).endswith(f":{expected}")


@pytest.mark.usefixtures("split")
@pytest.mark.parametrize("folds", ["0,1", "1", "all"])
def test_teacher_that_has_seen_the_validation_cases(folds: str, teach: Callable[..., None]) -> None:
    folder = write_teacher(plans_2d(), folds=(0, 1, "all"))
    teach(folder, f":{folds}")
    seen_by = folds.removeprefix("0,")
    leak = rf"{folder}:{folds}: fold {seen_by} of the teacher was trained on 2 of the student's 2 validation cases \(c"
    advice = (
        rf"Use the teacher's fold 0 \(NNUNET_PYCONV_TEACHER={folder}:0\), or train the student with the fold all and"
    )
    with pytest.raises(InputError, match=f"{leak}.*{advice}"):
        start_student(0)


def test_split_that_changed_since_the_teacher(nnunet_folders: NnunetFolders, teach: Callable[..., None]) -> None:
    """The teacher's own validation tells which cases it held out."""
    write_split(nnunet_folders)
    teach(write_teacher(plans_2d(), validated=["a", "b"]))
    with pytest.raises(InputError, match=r"2 validation cases \(c, d\).*Train a teacher on the student's fold 0, or"):
        start_student(0)


def test_validation_of_the_teacher_agrees(nnunet_folders: NnunetFolders, teach: Callable[..., None]) -> None:
    """Cases of no fold were not trained on."""
    write_split(nnunet_folders, splits=[*SPLITS, (("a",), ("b",)), (("c",), ("a",))])
    teach(write_teacher(plans_2d(), folds=(2,), validated=["b"]), ":2")
    with pytest.raises(InputError, match=r"1 of the student's 1 validation cases \(a\)"):
        start_student(3)
    assert str(start_student(0).teacher_name).endswith(":2")  # is validated on c and d, of which fold 2 saw nothing


def test_fold_beyond_the_split(nnunet_folders: NnunetFolders, teach: Callable[..., None]) -> None:
    """NnU-Net draws a random split then; the cases that it validated tell."""
    write_split(nnunet_folders)
    teach(write_teacher(plans_2d(), folds=(7,), validated=["c", "d"]), ":7")
    start_student(0)
    teach(write_teacher(plans_2d(), folds=(8,)), ":8")
    with pytest.raises(InputError, match=r"what fold 8 of the teacher was trained on can't be known, .* --val"):
        start_student(0)


@pytest.mark.parametrize(
    ("damaged", "content", "message"),
    [
        ("split", "[{", "splits_final.json holds no splits of nnU-Net .* restore it from a copy"),
        ("split", '[["c"]]', "splits_final.json holds no splits of nnU-Net .* restore it from a copy"),
        ("summary", "", "summary.json is no summary of nnU-Net .* validate the teacher again, with --val"),
        ("summary", '{"mean": {}}', "summary.json is no summary of nnU-Net .* validate the teacher again, with --val"),
    ],
)
def test_damaged_record_of_what_the_teacher_has_seen(
    damaged: str, content: str, message: str, nnunet_folders: NnunetFolders, teach: Callable[..., None]
) -> None:
    """A record of a dataset of another name, so that nnU-Net's own reading of the split doesn't come first."""
    write_split(nnunet_folders)
    write_split(nnunet_folders, OTHER_DATASET)
    teacher = write_teacher(plans_2d() | {"dataset_name": OTHER_DATASET}, validated=["c", "d"])
    file = {
        "split": nnunet_folders.preprocessed / OTHER_DATASET / "splits_final.json",
        "summary": teacher / "fold_0" / "validation" / "summary.json",
    }[damaged]
    file.write_text(content)
    teach(teacher, ":0")
    with pytest.raises(InputError, match=message):
        start_student(0)


def test_teacher_that_has_seen_test_cases(nnunet_folders: NnunetFolders, teach: Callable[..., None]) -> None:
    """Of another dataset, whose training cases are among the student's test cases by name."""
    write_split(nnunet_folders, test=["t", "u"])
    write_split(nnunet_folders, OTHER_DATASET, [(("t", "x"), ("c", "u"))])
    other = plans_2d() | {"dataset_name": OTHER_DATASET}
    folder = write_teacher(other, folds=(0, "all"))
    teach(folder, ":0")
    with pytest.raises(
        InputError,
        match=rf"1 of the student's 2 test cases \(t\).*dataset is another one, {OTHER_DATASET}, so cases are",
    ):
        start_student("all")
    teach(folder, ":all")
    with pytest.raises(InputError, match=rf"1 of the student's 2 validation cases \(c\).*{OTHER_DATASET}"):
        start_student(0)


def test_teacher_of_another_dataset(nnunet_folders: NnunetFolders, teach: Callable[..., None]) -> None:
    write_split(nnunet_folders)
    write_split(nnunet_folders, OTHER_DATASET, [(("x", "y"), ("c",))])
    teach(write_teacher(plans_2d() | {"dataset_name": OTHER_DATASET}))
    start_student(0)


def test_teacher_of_a_dataset_that_is_not_here(
    nnunet_folders: NnunetFolders, teach: Callable[..., None], tmp_path: Path
) -> None:
    write_split(nnunet_folders)
    write_split(nnunet_folders, OTHER_DATASET)
    teach(write_teacher(plans_2d() | {"dataset_name": OTHER_DATASET}), ":0")
    (nnunet_folders.preprocessed / OTHER_DATASET).rename(tmp_path / "away")
    with pytest.raises(InputError, match=rf"can't be known, .*Expected .*{OTHER_DATASET} with gt_segmentations and"):
        start_student(0)
    start_student("all")  # is scored on nothing that is not trained on
