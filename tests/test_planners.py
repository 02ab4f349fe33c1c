"""Planning anew with our planners, on a fingerprint made by hand: no image is read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import NnunetFolders
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pyconv.cli import main
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.planning import PLANNERS, Design, network_on_meta, plan_dataset
from nnunet_pyconv.planning.planners import GB, memory_of_plan

DATASET = "Dataset011_Blobs"
LABELS = {"background": 0, "left": 1, "right": 2}


def make_dataset(folders: NnunetFolders, shape: list[int], spacing: list[float], cases: int = 4) -> Path:
    """A raw dataset of empty files and its fingerprint."""
    raw, preprocessed = folders.raw / DATASET, folders.preprocessed / DATASET
    for folder in (raw / "imagesTr", raw / "labelsTr", preprocessed):
        folder.mkdir(parents=True)
    for case in range(cases):
        (raw / "imagesTr" / f"case_{case}_0000.nii.gz").touch()
        (raw / "labelsTr" / f"case_{case}.nii.gz").touch()
    dataset = {"channel_names": {"0": "MR"}, "labels": LABELS, "numTraining": cases, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps({**dataset, "overwrite_image_reader_writer": "SimpleITKIO"}))
    fingerprint = {
        "spacings": [spacing] * cases,
        "shapes_after_crop": [shape] * cases,
        "foreground_intensity_properties_per_channel": {"0": {"mean": 1.0}},
        "median_relative_size_after_cropping": 1.0,
    }
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return preprocessed


@pytest.fixture
def volumes(nnunet_folders: NnunetFolders) -> Path:
    return make_dataset(nnunet_folders, [40, 64, 64], [2.0, 1.0, 1.0])


def peak_gb(plan: dict[str, Any], batch_size: int) -> float:
    memory = memory_of_plan(plan["patch_size"], batch_size, 1, len(LABELS), plan["architecture"])
    return memory.peak_bytes / GB


@pytest.mark.slow
def test_target_is_used_and_kept(volumes: Path) -> None:
    file, target, planned = plan_dataset(11, "nnUNetPlannerPyConvResEncM", gpu_memory_gb=0.25)
    assert target == 0.25
    assert [configuration.name for configuration in planned] == ["2d", "3d_lowres", "3d_fullres"]
    plans = json.loads(file.read_text())
    for configuration in planned:
        plan = plans["configurations"][configuration.name]
        assert tuple(plan["patch_size"]) == configuration.chosen.patch_size
        assert plan["batch_size"] == configuration.chosen.batch_size
        assert configuration.chosen.memory_gb == peak_gb(plan, plan["batch_size"]) <= 0.25
        assert (peak_gb(plan, plan["batch_size"] + 1) <= 0.25) == configuration.next_batch_fits
    assert plans["configurations"]["3d_cascade_fullres"]["inherits_from"] == "3d_fullres"


@pytest.mark.slow
@pytest.mark.parametrize("planner", ["nnUNetPlannerPyConv", "nnUNetPlannerPyConvResEncM"])
def test_stock_nnunet_builds_the_network_of_the_plans(planner: str, volumes: Path) -> None:
    file, _, planned = plan_dataset(DATASET, planner, gpu_memory_gb=1)
    assert file == volumes / f"{planner}Plans.json"
    manager = PlansManager(str(file))
    assert manager.experiment_planner_name == planner
    dataset_json = json.loads((volumes / "dataset.json").read_text())
    for configuration in planned:
        network = network_on_meta(manager, manager.get_configuration(configuration.name), dataset_json)
        assert (
            type(network).__name__
            == ("PyConvResidualEncoderUNet" if "ResEnc" in planner else "PyConvUNet")
            == configuration.network_class_name.rpartition(".")[2]
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planner", "target", "counterpart"),
    [
        ("nnUNetPlannerPyConv", 8, "nnUNetPlans"),
        ("nnUNetPlannerPyConvResEncM", 8, "nnUNetResEncUNetMPlans"),
        ("nnUNetPlannerPyConvResEncL", 24, "nnUNetResEncUNetLPlans"),
        ("nnUNetPlannerPyConvResEncXL", 40, "nnUNetResEncUNetXLPlans"),
    ],
)
def test_targets_are_those_of_nnunets_presets(planner: str, target: float, counterpart: str, volumes: Path) -> None:
    made = PLANNERS[planner](11)
    assert (made.UNet_vram_target_GB, made.counterpart, made.plans_identifier) == (
        target,
        counterpart,
        planner + "Plans",
    )


@pytest.mark.long
def test_more_memory_gives_no_less(volumes: Path) -> None:
    small, large = (
        plan_dataset(11, "nnUNetPlannerPyConv", gpu_memory_gb=gb, overwrite=True)[2][-1].chosen for gb in (0.25, 0.5)
    )
    assert all(a <= b for a, b in zip(small.patch_size, large.patch_size, strict=True))
    assert (small.patch_size, small.batch_size) != (large.patch_size, large.batch_size)


@pytest.mark.slow
def test_plans_of_nnunet_are_compared_and_their_data_shared(volumes: Path) -> None:
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    stock = ExperimentPlanner(11).plan_experiment()["configurations"]
    for name, cases in (("2d", 4), ("3d_fullres", 3)):  # one case is missing in 3d_fullres
        (volumes / f"nnUNetPlans_{name}").mkdir()
        for case in range(cases):
            (volumes / f"nnUNetPlans_{name}" / f"case_{case}.pkl").touch()
    file, _, planned = plan_dataset(11, "nnUNetPlannerPyConv")
    plans = json.loads(file.read_text())["configurations"]
    assert [plans[name]["data_identifier"] for name in ("2d", "3d_fullres")] == [
        "nnUNetPlans_2d",
        "nnUNetPlans_3d_fullres",
    ]
    for configuration in planned:
        for key in ("spacing", "normalization_schemes", "median_image_size_in_voxels", "resampling_fn_data"):
            assert plans[configuration.name][key] == pytest.approx(stock[configuration.name][key])
        assert configuration.counterpart is not None
        assert configuration.counterpart.batch_size == stock[configuration.name]["batch_size"]
        assert configuration.is_preprocessed == (configuration.name == "2d")


@pytest.mark.slow
def test_spacing_and_preprocessor_pass_through(volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a class that a user has put into nnunetv2.preprocessing, where nnU-Net looks for it
    monkeypatch.setattr("nnunet_pyconv.planning.planned_dataset.recursive_find_python_class", lambda *_: object)
    file, _, _ = plan_dataset(
        11, "nnUNetPlannerPyConv", "Coarse", overwrite_target_spacing=(4, 2, 2), preprocessor_name="MyPreprocessor"
    )
    plans = json.loads(file.read_text())
    plan = plans["configurations"]["3d_fullres"]
    assert (plans["plans_name"], plan["spacing"], plan["preprocessor_name"]) == ("Coarse", [4, 2, 2], "MyPreprocessor")
    assert plan["data_identifier"] == "Coarse_3d_fullres"  # other data than those of nnUNetPlans


@pytest.mark.slow
def test_data_of_another_spacing_are_preprocessed_again(volumes: Path) -> None:
    def is_preprocessed(spacing: tuple[float, ...]) -> dict[str, bool]:
        _, _, planned = plan_dataset(
            11, "nnUNetPlannerPyConv", "Coarse", overwrite_target_spacing=spacing, overwrite=True
        )
        return {configuration.name: configuration.is_preprocessed for configuration in planned}

    assert not is_preprocessed((4, 2, 2))["3d_fullres"]
    (volumes / "Coarse_3d_fullres").mkdir()
    for case in range(4):
        (volumes / "Coarse_3d_fullres" / f"case_{case}.pkl").touch()
    assert is_preprocessed((4, 2, 2))["3d_fullres"]
    assert not is_preprocessed((2, 2, 2))["3d_fullres"]


@pytest.mark.slow
def test_plans_of_somebody_elses_network_are_not_replaced(volumes: Path) -> None:
    file, _, _ = plan_dataset(11, "nnUNetPlannerPyConv", "Mine")
    theirs = file.read_text().replace("nnunet_pyconv.architectures", "their_package")
    file.write_text(theirs)
    with pytest.raises(InputError, match="Mine.json was not written by nnunet_pyconv plan"):
        plan_dataset(11, "nnUNetPlannerPyConv", "Mine", overwrite=True)
    assert file.read_text() == theirs


def test_damaged_raw_data(volumes: Path, nnunet_folders: NnunetFolders) -> None:
    (nnunet_folders.raw / DATASET / "dataset.json").write_text("{")
    with pytest.raises(InputError, match="nnU-Net can't plan Dataset011_Blobs"):
        plan_dataset(11, "nnUNetPlannerPyConv")


@pytest.mark.slow
def test_folder_that_cannot_be_written_to(volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nnunet_pyconv.planning.plans_files.save_json", full)
    with pytest.raises(InputError, match="can't write .*nnUNetPlannerPyConvPlans.json: No space left"):
        plan_dataset(11, "nnUNetPlannerPyConv")
    assert not list(volumes.glob("*Plans*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("design", "network", "features"),
    [
        (Design("stock", 0.5), "PlainConvUNet", 16),
        (Design("dilated", 0.25, stages=3), "PyConvUNet", 8),
        (Design("separable"), "PyConvUNet", 32),
        (Design("dilated", 0.5, 16, 3, pyramid_stages=2, levels=3, part="decoder"), "PyConvUNet", 16),
    ],
    ids=lambda value: value.plans_name if isinstance(value, Design) else "",
)
def test_design(design: Design, network: str, features: int, nnunet_folders: NnunetFolders) -> None:
    make_dataset(nnunet_folders, [1, 128, 128], [999.0, 1.0, 1.0], cases=400)
    file, target, planned = plan_dataset(11, "nnUNetPlannerPyConv", gpu_memory_gb=0.25, design=design)
    (configuration,) = planned
    plan = json.loads(file.read_text())["configurations"]["2d"]
    assert file.stem == f"nnUNetPlannerPyConv{design.plans_name.removeprefix('nnUNet').removeprefix('PyConv')}"
    assert configuration.network_class_name.rpartition(".")[2] == network
    assert configuration.stages[0].features == features
    assert len(configuration.stages) == plan["architecture"]["arch_kwargs"]["n_stages"] == (design.stages or 6)
    # the memory of this network decides: one more patch would not fit, or the dataset is too small for it
    assert configuration.chosen.memory_gb == peak_gb(plan, plan["batch_size"]) <= target
    assert (peak_gb(plan, plan["batch_size"] + 1) <= target) == configuration.next_batch_fits


@pytest.mark.slow
def test_two_dimensional_images(nnunet_folders: NnunetFolders) -> None:
    make_dataset(nnunet_folders, [1, 64, 96], [999.0, 1.0, 1.0], cases=100)
    _, _, planned = plan_dataset(11, "nnUNetPlannerPyConv")
    (configuration,) = planned
    assert (configuration.name, configuration.chosen.patch_size) == ("2d", (64, 96))
    assert configuration.chosen.batch_size == 5  # 5 % of the dataset's pixels
    assert configuration.whole_image
    assert configuration.next_batch_fits


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"planner_name": "ExperimentPlanner"}, "-pl ExperimentPlanner is none of our planners.*nnUNetPlannerPyConv"),
        ({"gpu_memory_gb": 0}, "-gpu_memory_target 0: expected a positive number"),
        ({"gpu_memory_gb": float("nan")}, "-gpu_memory_target nan"),
        pytest.param({"gpu_memory_gb": 0.001}, "leaves less than 3 stages", marks=pytest.mark.slow),  # a long search
        ({"overwrite_target_spacing": (1, 0, 1)}, "-overwrite_target_spacing 1 0 1: expected three positive"),
        ({"output_plans": "my__plans"}, "plans can't be named 'my__plans'"),
        ({"gpu_memory_gb": float("inf")}, "-gpu_memory_target inf"),
        ({"overwrite_target_spacing": (1, float("nan"), 1)}, "-overwrite_target_spacing 1 nan 1"),
        ({"preprocessor_name": "NoSuch"}, "-preprocessor_name NoSuch: nnU-Net has no such class"),
        ({"output_plans": "nnUNetPlans"}, "nnUNetPlans is the name of plans of nnU-Net's own"),
        ({"output_plans": "nnUNetResEncUNetLPlans"}, "nnUNetResEncUNetLPlans is the name of plans of nnU-Net's own"),
        ({"dataset_name_or_id": 12}, "dataset 12 not found"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_input(arguments: dict[str, Any], message: str, volumes: Path) -> None:
    (volumes / "nnUNetPlans.json").write_text("{}")
    before = {file: file.read_text() for file in volumes.glob("*Plans.json")}
    with pytest.raises(InputError, match=re.compile(message)):
        plan_dataset(**{"dataset_name_or_id": 11, "planner_name": "nnUNetPlannerPyConv", **arguments})
    assert {file: file.read_text() for file in volumes.glob("*Plans.json")} == before


@pytest.mark.slow
def test_output_that_exists(volumes: Path) -> None:
    file, _, _ = plan_dataset(11, "nnUNetPlannerPyConv")
    plans = json.loads(file.read_text())
    plans["configurations"]["mine"] = {"inherits_from": "2d"}
    file.write_text(json.dumps(plans))
    with pytest.raises(InputError, match="exists already; choose another name with -o, or replace it"):
        plan_dataset(11, "nnUNetPlannerPyConv")
    plan_dataset(11, "nnUNetPlannerPyConv", overwrite=True)
    assert "mine" not in json.loads(file.read_text())["configurations"]


@pytest.mark.parametrize(
    ("missing", "message"),
    [("dataset_fingerprint.json", "run nnUNetv2_extract_fingerprint"), ("raw", "has no dataset.json in nnUNet_raw")],
)
def test_what_planning_needs(missing: str, message: str, volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing == "raw":
        monkeypatch.delenv("nnUNet_raw")
    else:
        (volumes / missing).unlink()
    with pytest.raises(InputError, match=message):
        plan_dataset(DATASET, "nnUNetPlannerPyConv")


@pytest.mark.slow
def test_command_says_what_it_chose_and_why(volumes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["plan", "-d", DATASET, "-pl", "nnUNetPlannerPyConv", "-gpu_memory_target", "0.5", "-o", "Mine"])
    out = capsys.readouterr().out
    assert re.search(r"^3d_fullres: PyConvUNet, patch [\d x]+, batch \d+: 0\.\d+ GB of 0\.5 GB$", out, re.MULTILINE)
    assert "one more does not fit" in out
    assert "Next: nnUNetv2_preprocess -d 11 -plans_name Mine -c 2d" in out
    assert f"Then: nnUNetv2_train {DATASET} 2d 0 -p Mine" in out


@pytest.mark.parametrize("option", ["-gpu_memory_target=4", "-preprocessor_name=P"])
@pytest.mark.parametrize("paper", [[], ["--paper"]])
def test_options_of_planners_without_a_planner(
    option: str, paper: list[str], volumes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["plan", "-d", "11", *option.split("="), *paper])
    assert exit_.value.code == 2
    assert f"{option.split('=')[0]} is for planning anew; name a planner with -pl" in capsys.readouterr().err
