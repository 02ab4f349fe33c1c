from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plans_of_nnunet import DATASET_JSON, make_plans

from nnunet_pyconv import architectures
from nnunet_pyconv.cli import main
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import PAPER_PLANS
from nnunet_pyconv.planning import network_on_meta, plan_paper
from nnunet_pyconv.planning.paper_plans import paper_configurations

NETWORKS = {
    "2d_pyconv_unet": architectures.PaperPyConvUNet,
    "2d_unet": architectures.UNet,
    "2d_unet_plus_plus": architectures.UNetPlusPlus,
    "2d_resnet34_unet": architectures.ResNet34UNet,
    "2d_attention_unet": architectures.AttentionUNet,
    "2d_fcn8s": architectures.FCN8s,
    "2d_multires_unet": architectures.MultiResUNet,
}


def test_configurations_share_the_preprocessed_data(source: dict[str, Any]) -> None:
    file, names = plan_paper(312)
    assert sorted(names) == sorted(NETWORKS)
    manager = PlansManager(str(file))
    assert manager.plans_name == file.stem == "PyConvUNetPaperPlans"
    for name, network in NETWORKS.items():
        configuration = manager.get_configuration(name)
        assert configuration.data_identifier == "nnUNetPlans_2d"
        assert configuration.patch_size == [48, 40]
        assert configuration.batch_size == 5
        assert type(network_on_meta(manager, configuration, DATASET_JSON)) is network
    plans = json.loads(file.read_text())
    assert plans["configurations"]["2d"] == source["configurations"]["2d"]
    # but for the one on which they build, they differ in the architecture alone
    assert {frozenset(plans["configurations"][name]) for name in names if name != "2d_unet"} == {
        frozenset({"inherits_from", "architecture"})
    }


def test_example_is_what_is_written() -> None:
    """plans/PyConvUNetPaperPlans.json shows what the command adds to plans of 512 x 512 pixels."""
    example = json.loads(files("nnunet_pyconv.plans").joinpath("PyConvUNetPaperPlans.json").read_text())
    assert example == {"plans_name": PAPER_PLANS, "configurations": paper_configurations((512, 512))}


def test_the_command_says_how_to_train(source: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    main(["plan", "-d", "312", "--paper"])
    printed = capsys.readouterr().out
    assert "nnUNetv2_train 312 2d_unet 0 -tr nnUNetTrainerPyConvPaper -p PyConvUNetPaperPlans" in printed
    main(["plan", "-d", "312", "--paper", "-o", "Mine"])
    assert "-tr nnUNetTrainerPyConvPaper -p Mine\n" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["plan", "-d", "312", "--paper", "-block", "bottleneck"])
    assert "--paper writes the paper's networks into existing plans; give neither" in capsys.readouterr().err


def test_existing_plans_stay(source: dict[str, Any]) -> None:
    file, _ = plan_paper(312)
    mine = {**json.loads(file.read_text()), "note": "mine"}
    file.write_text(json.dumps(mine))
    with pytest.raises(InputError, match="exists already; .* replace it with --overwrite"):
        plan_paper(312)
    assert json.loads(file.read_text()) == mine
    plan_paper(312, overwrite=True)
    assert "note" not in json.loads(file.read_text())


@pytest.mark.parametrize("missing", ["2d", "median_image_size_in_voxels"])
def test_plans_without_a_2d_configuration(missing: str, preprocessed: Path) -> None:
    plans = make_plans()
    if missing == "2d":
        del plans["configurations"]["2d"]
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
    with pytest.raises(InputError, match="nnUNetPlans have no configuration 2d with a median image size"):
        plan_paper(312)
    assert not (preprocessed / "PyConvUNetPaperPlans.json").exists()


@pytest.mark.parametrize("size", [None, ["a", "b"], [float("nan"), 4], [0, 4], [4]])
def test_plans_whose_median_size_is_damaged(size: object, source: dict[str, Any], preprocessed: Path) -> None:
    source["configurations"]["2d"]["median_image_size_in_voxels"] = size
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(source))
    with pytest.raises(InputError, match="nnUNetPlans have no configuration 2d with a median image size"):
        plan_paper(312)


def test_its_own_plans_are_no_source(source: dict[str, Any]) -> None:
    plan_paper(312)
    with pytest.raises(InputError, match="give the plans to start from"):
        plan_paper(312, "PyConvUNetPaperPlans", overwrite=True)
