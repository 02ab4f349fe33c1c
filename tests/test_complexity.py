"""The complexity table: counts against the paper and by hand, memory against what must be there."""

from __future__ import annotations

import csv
import json
import platform
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from nnunet_pyconv.architectures import PyConvUNet
from nnunet_pyconv.benchmarks import complexity_subjects
from nnunet_pyconv.benchmarks.complexity import Complexity, Subject, count_gmac, measure, peak_memory_mib
from nnunet_pyconv.benchmarks.complexity_subjects import paper_subjects, plans_subjects
from nnunet_pyconv.benchmarks.complexity_table import to_markdown, write_tables
from nnunet_pyconv.cli import main
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.paper import Cost
from nnunet_pyconv.planning import plan_paper

CPU = torch.device("cpu")


MEASURED = [subject for subject in paper_subjects() if subject.paper_cost is not None]


@pytest.mark.parametrize("subject", MEASURED, ids=lambda subject: subject.name)
def test_operations_are_those_of_table_3(subject: Subject) -> None:
    """At 64 x 64, whose operations are a 64th of those at 512 x 512: every term is proportional to the pixels."""
    gmac = 64 * count_gmac(subject.build(), (3, 64, 64))
    assert subject.paper_cost is not None
    if subject.name == "PyConvU-Net":
        assert gmac <= subject.paper_cost.gmac
    else:
        assert gmac == pytest.approx(subject.paper_cost.gmac, rel=0.003)


def test_multires_unet_has_no_figures_of_the_paper() -> None:
    *_, subject = paper_subjects()
    assert (subject.name, subject.paper_cost) == ("MultiResUNet", None)
    lines = to_markdown([made("U-Net", Cost(7.77, 48.57)), made("MultiResUNet")]).splitlines()
    assert [cell.strip() for cell in lines[3].split("|")[1:6]] == ["MultiResUNet", "7.766", "", "48.57", ""]


def test_operations_by_hand() -> None:
    """8 x 8 pixels: 3 x 3 x 2 x 4 products and a bias, two for the normalisation, one for the activation."""
    network = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    assert count_gmac(network, (2, 8, 8)) == pytest.approx(64 * (4 * 18 + 4 + 2 * 4 + 4) / 1e9)


def test_modules_of_two_names_count_once() -> None:
    """nnU-Net's blocks hold their convolution twice, and its decoder holds the encoder."""
    from torch.utils.flop_counter import FlopCounterMode

    network = PyConvUNet(1, 2, (8, 8), norm_op=None, nonlin=None, conv_bias=False, num_classes=2)
    network.decoder.seg_layers[-1].bias = None
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        network.to("meta")(torch.zeros(1, 1, 16, 16))
    network = network.to_empty(device="cpu")
    assert count_gmac(network, (1, 16, 16)) * 2e9 == counter.get_total_flops()


@pytest.mark.slow  # a process of its own imports torch
@pytest.mark.skipif(platform.system() != "Linux", reason="measured on Linux alone")
def test_memory_holds_the_weights_and_what_training_keeps() -> None:
    """64 MiB of weights; in a step their gradients and Adam's two moments as well."""
    ballast = torch.ones(2**28)  # a gibibyte of this process is not the network's
    inference, training = peak_memory_mib(Subject("linear", partial(nn.Linear, 4096, 4096), (4096,)), CPU)
    del ballast
    assert inference is not None
    assert training is not None
    assert 60 < inference < 120
    assert 240 < training < 500


@pytest.mark.slow
def test_measured_in_the_order_given() -> None:
    subjects = [Subject(str(width), partial(nn.Conv2d, 1, width, 1), (1, 4, 4)) for width in (3, 2)]
    measured = measure(subjects, CPU, rounds=2)
    assert [each.subject.name for each in measured] == ["3", "2"]
    assert [each.parameters for each in measured] == [6, 4]
    assert all(0 < each.latency_low_ms <= each.latency_ms <= each.latency_high_ms for each in measured)


def test_plans_of_a_dataset(source: object) -> None:
    plan_paper(312)
    subjects = {subject.name: subject for subject in plans_subjects(312, "PyConvUNetPaperPlans")}
    assert len(subjects) == 8  # nnU-Net's own 2d among them
    assert subjects["2d_unet"].input_shape == (1, 48, 40)
    network = subjects["2d_unet"].build()
    assert network.eval()(torch.zeros(1, 1, 48, 40)).shape == (1, 2, 48, 40)


def test_plans_whose_network_is_not_installed(source: object, preprocessed: Path) -> None:
    plans_file = preprocessed / "nnUNetPlans.json"
    plans_file.write_text(plans_file.read_text().replace("unet.PlainConvUNet", "unet.NoSuchNet"))
    with pytest.raises(InputError, match=r"configuration 2d of nnUNetPlans names the network .*NoSuchNet, .*install"):
        plans_subjects(312, "nnUNetPlans")[0].build()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"patch_size": [0, 40]}, "patch_size"),
        ({"patch_size": None}, "configuration 2d of nnUNetPlans, or the dataset.json"),
        ({"architecture": {}}, "configuration 2d of nnUNetPlans, or the dataset.json"),
    ],
    ids=["patch-0", "no-patch", "no-network"],
)
def test_damaged_configuration(
    damage: dict[str, object],
    message: str,
    source: object,
    preprocessed: Path,
) -> None:
    plans_file = preprocessed / "nnUNetPlans.json"
    plans = json.loads(plans_file.read_text())
    plans["configurations"]["2d"] |= damage
    plans_file.write_text(json.dumps(plans))
    with pytest.raises(InputError, match=message):
        plans_subjects(312, "nnUNetPlans")
    plans["configurations"] = {}
    plans_file.write_text(json.dumps(plans))
    with pytest.raises(InputError, match="nnUNetPlans of dataset 312 have no configuration"):
        plans_subjects(312, "nnUNetPlans")


def test_network_that_cannot_be_built(source: object, preprocessed: Path) -> None:
    plans_file = preprocessed / "nnUNetPlans.json"
    plans = json.loads(plans_file.read_text())
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["colour"] = "red"
    plans_file.write_text(json.dumps(plans))
    with pytest.raises(InputError, match="PlainConvUNet can't be built with its arch_kwargs .*colour"):
        plans_subjects(312, "nnUNetPlans")[0].build()


def test_damaged_dataset_json(source: object, preprocessed: Path) -> None:
    (preprocessed / "dataset.json").write_text("{")
    with pytest.raises(InputError, match=r"dataset.json is damaged .*copy it there from nnUNet_raw"):
        plans_subjects(312, "nnUNetPlans")


def made(name: str, cost: Cost | None = None, note: str = "") -> Complexity:
    subject = Subject(name, nn.Identity, (3, 8, 8), cost, note)
    return Complexity(subject, 7_765_985, 48.5724, 12.34, 11.0, 13.0, 300.4, None)


def test_table_beside_the_paper() -> None:
    header, _, row, *_ = to_markdown([made("U-Net", Cost(7.77, 48.57))]).splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        "network",
        "parameters (M)",
        "paper's parameters (M)",
        "GMac",
        "paper's GMac",
        "GFLOP",
        "latency (ms)",
        "inference (MiB)",
        "training (MiB)",
    ]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["U-Net", "7.766", "7.77", "48.57", "48.57", "97.14", "12.3 (11.0-13.0)", "300", ""]
    noted = to_markdown([made("A", note="One."), made("B"), made("C", note="Two."), made("D", note="One.")])
    assert [line.split("|")[1].strip() for line in noted.splitlines()[2:6]] == ["A [1]", "B", "C [2]", "D [1]"]
    assert noted.endswith("\n\n[1] One.\n\n[2] Two.\n")
    assert "paper's" not in to_markdown([made("2d")]).splitlines()[0]


def test_files(tmp_path: Path) -> None:
    files = write_tables([made("U-Net", Cost(7.77, 48.57))], {"threads": 2}, tmp_path / "new")
    assert sorted(file.name for file in files) == ["complexity.csv", "complexity.json", "complexity.md"]
    (row,) = csv.DictReader((tmp_path / "new/complexity.csv").open())
    assert (row["name"], row["parameters"], row["input_shape"], row["training_mib"]) == (
        "U-Net",
        "7765985",
        "3x8x8",
        "",
    )
    written = json.loads((tmp_path / "new/complexity.json").read_text())
    assert written["machine"] == {"threads": 2}
    assert written["networks"][0]["gflop"] == pytest.approx(97.1448)
    with pytest.raises(InputError, match="exists already"):
        write_tables([made("other")], {}, tmp_path / "new")
    write_tables([made("other")], {}, tmp_path / "new", overwrite=True)
    assert "other" in (tmp_path / "new/complexity.md").read_text()
    for file in ("complexity.md", "complexity.md/below"):
        with pytest.raises(InputError, match="can't write"):
            write_tables([made("other")], {}, tmp_path / "new" / file)


@pytest.mark.slow
def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = [Subject("tiny", partial(nn.Conv2d, 1, 2, 1), (1, 4, 4), Cost(1.0, 2.0))]
    monkeypatch.setattr(complexity_subjects, "paper_subjects", lambda: tiny)
    main(["complexity", "-device", "cpu", "-o", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "| tiny " in printed
    assert "Measured on device cpu" in printed
    assert (tmp_path / "complexity.csv").is_file()
    for arguments, message in (
        (["-device", "cpu", "-o", str(tmp_path)], "exists already"),
        (["-p", "nnUNetPlans"], "-p nnUNetPlans needs the dataset"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["complexity", *arguments])
        assert message in capsys.readouterr().err
