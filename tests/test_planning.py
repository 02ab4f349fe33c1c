from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from plans_of_nnunet import DATASET, make_plans

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.planning import plan_pyconv


@pytest.mark.parametrize("dataset", [312, "312", DATASET], ids=str)
def test_plans_name_our_network(dataset: str | int, preprocessed: Path) -> None:
    file, planned = plan_pyconv(dataset)
    assert file == preprocessed / "nnUNetPyConvPlans.json"
    plans = json.loads(file.read_text())
    assert plans["plans_name"] == "nnUNetPyConvPlans"
    configuration = plans["configurations"]["2d"]
    source = make_plans()["configurations"]["2d"]
    assert configuration.pop("architecture") != source.pop("architecture")
    assert configuration == source  # data_identifier among it: preprocessed data are shared
    assert [(c.name, [stage.pyramid.kernel_sizes for stage in c.stages if stage.pyramid]) for c in planned] == [
        ("2d", [(3, 5, 7, 9), (3, 5, 7, 9), (3, 5, 7)]),
        ("2d_small", [(3, 5, 7, 9), (3, 5, 7), (3,)]),
    ]
    assert plans["configurations"]["2d_large_batch"] == {"inherits_from": "2d", "batch_size": 9}


@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_network_is_built_by_nnunet_alone(network: str, preprocessed: Path) -> None:
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(make_plans(network)))
    file, planned = plan_pyconv(312)
    architecture = json.loads(file.read_text())["configurations"]["2d"]["architecture"]
    net = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        input_channels=1,
        output_channels=2,
        deep_supervision=True,
    )
    assert type(net).__name__ == {"PlainConvUNet": "PyConvUNet"}.get(network, "PyConvResidualEncoderUNet")
    assert sum(p.numel() for p in net.parameters()) == planned[0].parameters_after
    assert [o.shape[-1] for o in net(torch.zeros(1, 1, 32, 32))] == [32, 16]


def test_old_plans_without_an_architecture(preprocessed: Path) -> None:
    plans = make_plans()
    plans["configurations"] = {"2d": plans["configurations"]["2d"]}
    del plans["configurations"]["2d"]["architecture"]
    plans["configurations"]["2d"] |= {
        "UNet_class_name": "ResidualEncoderUNet",
        "UNet_base_num_features": 8,
        "unet_max_num_features": 32,
        "n_conv_per_stage_encoder": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "num_pool_per_axis": [2, 2],
        "pool_op_kernel_sizes": [[1, 1], [2, 2], [2, 2]],
        "conv_kernel_sizes": [[3, 3]] * 3,
    }
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
    with pytest.warns(UserWarning, match="old nnU-Net plans"):
        _, planned = plan_pyconv(312)
    assert planned[0].network_class_name.endswith("PyConvResidualEncoderUNet")


def test_example_plans_are_what_the_command_writes() -> None:
    """plans/nnUNetPyConvPlans.json: its pyramid is the rule's, and nnU-Net builds its network."""
    from nnunet_pyconv import plans as package
    from nnunet_pyconv.planning import swap_plans

    folder = Path(package.__file__).parent
    example = json.loads((folder / "nnUNetPyConvPlans.json").read_text())
    source = json.loads(json.dumps(example))
    architecture = source["configurations"]["2d"]["architecture"]
    del architecture["arch_kwargs"]["pyramid"]
    architecture["network_class_name"] = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    dataset_json = {"labels": {"background": 0, "cell": 1}, "channel_names": {"0": "EM"}}
    written, planned = swap_plans(source, dataset_json, "nnUNetPyConvPlans")
    assert written == example
    assert planned[0].parameters_after < 0.81 * planned[0].parameters_before


def other_planner(plans: dict[str, Any]) -> None:
    plans["experiment_planner_used"] = "SomebodysPlanner"


def our_planner(plans: dict[str, Any]) -> None:
    plans["experiment_planner_used"] = "nnUNetPlannerPyConvResEncM"
    architecture = plans["configurations"]["2d"]["architecture"]
    architecture["network_class_name"] = "nnunet_pyconv.architectures.pyconv_unet.PyConvUNet"


def test_stock_network_of_our_planner(preprocessed: Path) -> None:
    plans = make_plans()
    plans |= {"experiment_planner_used": "nnUNetPlannerPyConv", "nnunet_pyconv": {"block": "stock", "width": 0.5}}
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
    file, (configuration, *_) = plan_pyconv(312)
    assert configuration.network_class_name.endswith("PyConvUNet")
    assert "nnunet_pyconv" not in json.loads(file.read_text())  # it would tell how the source was made


def other_network(plans: dict[str, Any]) -> None:
    plans["configurations"]["2d"]["architecture"]["network_class_name"] = "somewhere.Primus"


def not_plans(plans: dict[str, Any]) -> None:
    plans.clear()


def no_strides(plans: dict[str, Any]) -> None:
    del plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["strides"]


def unknown_parent(plans: dict[str, Any]) -> None:
    plans["configurations"]["2d_small"]["inherits_from"] = "3d"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (other_planner, "made by SomebodysPlanner, a planner that this nnU-Net doesn't have"),
        (our_planner, "nnUNetPlannerPyConvResEncM, so they have pyramidal convolutions already; train with them"),
        (
            other_network,
            r"network somewhere\.Primus, whose convolutions can't be swapped; expected one of PlainConvUNet",
        ),
        (not_plans, "is not a plans file of nnU-Net v2"),
        (no_strides, r"configuration 2d of the plans nnUNetPlans gives no network \(KeyError\('strides'\)"),
        (unknown_parent, "configuration 2d_small of the plans nnUNetPlans gives no network.*3d"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_bad_plans(damage: Any, message: str, preprocessed: Path) -> None:
    plans = make_plans()
    damage(plans)
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
    before = sorted(preprocessed.iterdir())
    with pytest.raises(InputError, match=message):
        plan_pyconv(312)
    assert sorted(preprocessed.iterdir()) == before


@pytest.mark.parametrize("content", ["{", "[]", '{"plans_name": "p", "configurations": []}'], ids=str)
def test_plans_that_are_none(content: str, preprocessed: Path) -> None:
    (preprocessed / "nnUNetPlans.json").write_text(content)
    with pytest.raises(InputError, match="is not a plans file"):
        plan_pyconv(312)


@pytest.mark.parametrize(
    ("name", "message"),
    [("dataset", "was not written by nnunet_pyconv plan"), ("nnUNetPlans", "is the name of plans of nnU-Net's own")],
)
def test_files_of_nnunet_are_never_replaced(name: str, message: str, preprocessed: Path) -> None:
    before = (preprocessed / f"{name}.json").read_text()
    with pytest.raises(InputError, match=message):
        plan_pyconv(312, output_plans=name, overwrite=True)
    assert (preprocessed / f"{name}.json").read_text() == before


def test_plans_that_have_been_swapped(preprocessed: Path) -> None:
    plan_pyconv(312)
    with pytest.raises(InputError, match="PyConvUNet, whose convolutions can't be swapped"):
        plan_pyconv(312, "nnUNetPyConvPlans", "again")


def test_plans_not_found(preprocessed: Path) -> None:
    with pytest.raises(InputError, match=r"Other\.json not found; .* has nnUNetPlans\. Give one of them with -p"):
        plan_pyconv(312, "Other")


@pytest.mark.parametrize("dataset", [313, "Dataset313_Other", "liver"], ids=str)
def test_dataset_not_found(dataset: str | int, preprocessed: Path) -> None:
    with pytest.raises(InputError, match="dataset .*(313|liver).*not found|Dataset313_Other has no dataset.json"):
        plan_pyconv(dataset)


def test_id_of_two_datasets(preprocessed: Path) -> None:
    (preprocessed.parent / "Dataset312_Other").mkdir()
    with pytest.raises(InputError, match="is more than one: Dataset312_ISBICell, Dataset312_Other"):
        plan_pyconv(312)


def test_output_that_exists(preprocessed: Path) -> None:
    file, _ = plan_pyconv(312)
    mine = json.loads(file.read_text()) | {"note": "mine"}
    file.write_text(json.dumps(mine))
    with pytest.raises(InputError, match="exists already; choose another name with -o"):
        plan_pyconv(312)
    assert json.loads(file.read_text()) == mine
    plan_pyconv(312, overwrite=True)
    assert "note" not in json.loads(file.read_text())


@pytest.mark.parametrize("name", ["my__plans", "folder/plans", "", "plans.json", ".hidden"])
def test_names_that_nnunet_cannot_use(name: str, preprocessed: Path) -> None:
    with pytest.raises(InputError, match="plans can't be named"):
        plan_pyconv(312, output_plans=name)


def test_preprocessed_folder_unset(preprocessed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_preprocessed")
    with pytest.raises(InputError, match="nnUNet_preprocessed is not set"):
        plan_pyconv(312)
