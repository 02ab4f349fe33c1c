from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from conftest import NnunetFolders
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    ResEncUNetPlanner,
)

from nnunet_pyconv.benchmarks import kit, layer, network, report, volumes
from nnunet_pyconv.benchmarks.candidates import STOCK, Candidate, PreparedTraining
from nnunet_pyconv.benchmarks.memory import in_fresh_process, peak_growth_bytes
from nnunet_pyconv.benchmarks.plans import CONFIGURATION, plan
from nnunet_pyconv.benchmarks.report import Measurements, to_json, to_markdown
from nnunet_pyconv.benchmarks.timing import Ratio, quartiles, ratios, time_in_turn
from nnunet_pyconv.cli import main, parse
from nnunet_pyconv.cli.benchmark import SUBJECTS
from nnunet_pyconv.markdown import escape

CPU = torch.device("cpu")
SOME_NETWORKS = ["PyConv", "PyConv dilated, half as wide", "PyConv bfloat16"]
ALL_NETWORKS = [name for name in (*network.CANDIDATES, *network.ONCE) if name not in STOCK]


def rows_of_markdown(text: str) -> list[dict[str, str]]:
    """Read all tables back, one dict a row."""
    rows: list[dict[str, str]] = []
    head: list[str] | None = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else None
        if cells is None:
            head = None
        elif head is None:
            head = cells
        elif set(cells) != {"---"}:
            rows.append(dict(zip(head, cells, strict=True)))
    return rows


def agrees(text: str, value: Any) -> bool:
    if value is None:
        return text == "-"
    if isinstance(value, dict):
        numbers = [float(number) for number in re.findall(r"[\d.]+", text)]
        return numbers == [round(value[key], 2) for key in ("ratio", "low", "high")]
    if isinstance(value, str):
        return text == escape(value)
    return float(text.replace(",", "")) == pytest.approx(value, rel=1e-3)


def check_files(folder: Path, subject: str, printed: str) -> list[dict[str, Any]]:
    """Assert that what was printed, the Markdown and the JSON say the same; return the rows."""
    markdown = (folder / f"{subject}.md").read_text()
    content = json.loads((folder / f"{subject}.json").read_text())
    rows = [row for table in content["tables"] for row in table["rows"]]
    assert markdown.strip() in printed
    of_markdown = rows_of_markdown(markdown)
    assert len(of_markdown) == len(rows) > 0
    for text, row in zip(of_markdown, rows, strict=True):
        assert all(agrees(text[column], row.get(column)) for column in text)
    assert content["command"].startswith(f"nnunet_pyconv benchmark {subject}")
    assert content["torch"] == torch.__version__.partition("+")[0]
    return rows


def test_ratios_are_taken_within_rounds_and_to_the_faster_reference() -> None:
    times = {"slow reference": [4.0, 4.0, 4.0], "reference": [1.0, 2.0, 3.0], "ours": [2.0, 2.0, 9.0]}
    assert ratios(times, ["slow reference", "reference"])["ours"] == Ratio(2.0, ratio=2.0, low=1.5, high=2.5)


def test_one_round_has_no_spread() -> None:
    assert ratios({"a": [2.0], "b": [3.0]}, ["a"])["b"] == Ratio(3.0, 1.5, 1.5, 1.5)


def test_quartiles_of_two_rounds_lie_between_them() -> None:
    assert quartiles([1.0, 9.0]) == (3.0, 5.0, 7.0)


def test_functions_are_called_in_turn() -> None:
    calls: list[str] = []
    times = time_in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, CPU, "")
    assert calls == ["a", "b"] * 3  # one round is not counted
    assert [len(of_rounds) for of_rounds in times.values()] == [2, 2]


def test_rows_with_other_columns_leave_cells_empty() -> None:
    table = Measurements("t", [{"a": 1, "b": Ratio(3.0, 1.5, 1.25, 1.75)}, {"a": 2500, "c": None}])
    text = to_markdown({"command": "x"}, [table])
    assert text.splitlines()[-2:] == ["| 1 | 1.50 (1.25-1.75) | - |", "| 2,500 | - | - |"]
    assert json.loads(to_json({}, [table]))["tables"][0]["rows"][1] == {"a": 2500, "c": None}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of the memory")
def test_peak_memory_is_that_of_what_was_touched() -> None:
    peak = in_fresh_process(partial(peak_growth_bytes, partial(torch.ones, 50_000_000), CPU))
    assert peak == pytest.approx(200e6, rel=0.1)  # 50 million float32


@pytest.mark.parametrize(
    ("patch_size", "features", "strides"),
    [
        ((256, 256), [32, 64, 128, 256, 512, 512, 512], [1, 2, 2, 2, 2, 2, 2]),
        ((512, 512), [32, 64, 128, 256, 512, 512, 512, 512], [1, 2, 2, 2, 2, 2, 2, 2]),
        ((64, 64, 64), [32, 64, 128, 256, 320], [1, 2, 2, 2, 2]),
    ],
    ids=str,
)
def test_plans_are_those_of_nnunet(patch_size: tuple[int, ...], features: list[int], strides: list[int]) -> None:
    configuration = plan(patch_size).plans["configurations"][CONFIGURATION]
    arch_kwargs = configuration["architecture"]["arch_kwargs"]
    assert configuration["patch_size"] == list(patch_size)
    assert arch_kwargs["features_per_stage"] == features
    assert arch_kwargs["strides"] == [[stride] * len(patch_size) for stride in strides]
    assert arch_kwargs["kernel_sizes"] == [[3] * len(patch_size)] * len(features)


def test_residual_encoder_is_that_of_nnunets_planner() -> None:
    architecture = plan((64, 64), residual_encoder=True).plans["configurations"][CONFIGURATION]["architecture"]
    with mock.patch.object(ExperimentPlanner, "__init__", return_value=None):  # it reads a dataset
        planner = ResEncUNetPlanner(1)
    network_class, arch_kwargs = planner.UNet_class, architecture["arch_kwargs"]
    assert architecture["network_class_name"] == f"{network_class.__module__}.{network_class.__name__}"
    assert arch_kwargs["n_blocks_per_stage"] == list(planner.UNet_blocks_per_stage_encoder[:5])
    assert arch_kwargs["n_conv_per_stage_decoder"] == list(planner.UNet_blocks_per_stage_decoder[:4])


@pytest.mark.parametrize(("edge", "message"), [(8, "give 16 or more"), (100, "no patch of 100x100, but of 1")])
@pytest.mark.parametrize("subject", ["network", "predict"])
def test_patches_that_nnunet_does_not_plan(
    subject: str, edge: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["benchmark", subject, "--sizes", "256", str(edge), "-device", "cpu"])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("edges", [["64"], ["32"] * 4])
def test_patches_have_two_or_three_edges(edges: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["benchmark", "runtimes", "--patch", *edges, "--designs", "dilated"])
    assert f"a patch of {len(edges)} edges: expected two or three" in capsys.readouterr().err


def test_a_step_trains_and_an_inference_has_one_output() -> None:
    prepared = PreparedTraining(Candidate(), plan((16, 16)), CPU)
    network = prepared.network
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    prepared.train()
    # nnU-Net's loss leaves out the lowest output of deep supervision
    assert [name for name, parameter in network.named_parameters() if torch.equal(parameter, before[name])] == [
        "decoder.seg_layers.0.weight",
        "decoder.seg_layers.0.bias",
    ]
    prepared.stop_training()
    prepared.infer()
    assert network(prepared.batch["data"]).shape == (2, 2, 16, 16)


def test_chosen_backends_are_counted() -> None:
    # three stages (16, 8 and 4 pixels) with two convolutions each, and two with two each in the decoder
    assert PreparedTraining(Candidate(setting="reference"), plan((16, 16)), CPU).backends() == "reference 10"
    assert PreparedTraining(STOCK["stock"], plan((16, 16)), CPU).backends() is None


def test_multiplications_are_counted_by_hand() -> None:
    stock = PreparedTraining(STOCK["stock"], plan((16, 16)), CPU)
    stock.stop_training()
    # 3 x 3 convolutions of three stages (32, 64, 128 channels at 16, 8, 4 pixels), transposed ones, head
    encoder = 256 * 9 * (1 + 32) * 32 + 64 * 9 * (32 + 64) * 64 + 16 * 9 * (64 + 128) * 128
    decoder = 64 * 9 * (128 + 64) * 64 + 256 * 9 * (64 + 32) * 32
    transposed = 16 * 4 * 128 * 64 + 64 * 4 * 64 * 32
    assert stock.gmac() == pytest.approx((encoder + decoder + transposed + 256 * 32 * 2) / 1e9)


def test_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--cases", "1x8x16", "2x256x4", "--rounds", "1", "--dtypes", "float32", "bfloat16"]
    main(["benchmark", "layer", *arguments, "-device", "cpu", "-o", str(tmp_path / "new")])
    rows = check_files(tmp_path / "new", "layer", capsys.readouterr().out)
    assert [row["N x C x size"] for row in rows] == ["1 x 8 x 16x16", "2 x 256 x 4x4"] * 4
    assert all({"auto", "fold", "reference", "dilated", "separable"} <= row.keys() for row in rows)
    assert rows[1]["auto is"] == "reference"  # many channels on a narrow map


def test_layer_leaves_out_what_can_not_run() -> None:
    case = layer.LayerCase(1, 8, 16, dim=3, kernel_sizes=(3, 5), stride=2)
    (inference, training) = layer.benchmark_layer([case], ["auto", "reference"], 1, CPU, ["float32"])
    assert inference.rows[0]["N x C x size"] == "1 x 8 x 16x16x16, stride 2"
    assert isinstance(training.rows[0]["reference"], Ratio)
    assert "native" not in training.rows[0]


@pytest.mark.parametrize(
    "subject",
    [
        "scaling",
        pytest.param("predict", marks=pytest.mark.slow),
        pytest.param("levels", marks=pytest.mark.slow),
        pytest.param("conversion", marks=pytest.mark.long),
        pytest.param("runtimes", marks=pytest.mark.slow),
        pytest.param("volumes", marks=pytest.mark.long),
    ],
)
def test_subject(subject: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {
        "predict": ["--sizes", "16", "--image", "24"],
        "scaling": ["--largest", "64"],
        "levels": ["--sizes", "8", "--fold"],
        "conversion": ["--images", "100", "-np", "2"],
        "runtimes": ["--patch", "32", "32", "--designs", "separable-w0.25"],
        "volumes": ["-c", "3d_fullres", "--epochs", "1", "--iterations", "1"],
    }[subject]
    main(["benchmark", subject, *arguments, "--rounds", "1", "-device", "cpu", "-o", str(tmp_path)])
    rows = check_files(tmp_path, subject, capsys.readouterr().out)
    if subject == "runtimes":
        assert [row["design"] for row in rows] == ["stock", "separable-w0.25"]
        assert rows[1]["parameters, M"] < rows[0]["parameters, M"]
        parts = ("step", "PyTorch", "ONNX Runtime", "OpenVINO")
        assert all(rows[0][f"{part} / stock"]["ratio"] == 1 for part in parts)
        assert rows[1]["peak / stock"] < rows[0]["peak / stock"] == 1
    if subject == "conversion":
        assert [row["dataset"] for row in rows] == ["isbi_cell", "kaggle_lung", "liver"]
        assert all(row["converted, images/s"] > 0 for row in rows)
    if subject == "volumes":
        trained = [(row["configuration"], row["encoder"], row["trainer"]) for row in rows]
        assert trained == [("3d_fullres", *each) for each in product(("plain", "residual"), volumes.COMPARED)]
        assert all(0 <= row["Dice"] <= 1 for row in rows)
        for stock, ours in (rows[:2], rows[2:]):
            assert ours["parameters, M"] < stock["parameters, M"]
            assert ours["GMac"] < stock["GMac"]
            assert stock["iteration / stock"]["ratio"] == 1
    if subject == "scaling":
        assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_signals_are_handled_after_the_runtimes() -> None:
    """OpenVINO gives the thread a stack for them, of which nothing may be left but one that is there."""
    code = """
import signal
from nnunet_pyconv.cli import main

main(["benchmark", "runtimes", "--patch", "16", "16", "--designs", "stock-w0.25", "--rounds", "1", "-device", "cpu"])
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("handled\n")


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(SOME_NETWORKS, marks=pytest.mark.slow, id="some"),
        pytest.param(ALL_NETWORKS, marks=pytest.mark.long, id="all"),  # two of them take a minute to compile
    ],
)
def test_network(names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--sizes", "16", "--networks", *names, "--rounds", "1", "-device", "cpu", "-o", str(tmp_path)]
    main(["benchmark", "network", *arguments])
    rows = check_files(tmp_path, "network", capsys.readouterr().out)
    assert [row["network"] for row in rows if "network" in row] == [*STOCK, *names]
    assert rows[0]["step / stock"]["ratio"] == 1 or rows[1]["step / stock"]["ratio"] == 1


def test_bad_input_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(layer, "benchmark_layer", lambda *_: pytest.fail("measured"))
    (tmp_path / "layer.json").touch()
    for arguments, message in (
        (["-o", str(tmp_path)], "exists already"),
        (["-o", str(tmp_path / "layer.json")], "can't write"),
        (["--rounds", "0"], "not a positive number"),
        (["--cases", "2x32"], "not NxCxEDGE"),
        (["--backends", "gpu"], "invalid choice"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["benchmark", "layer", "-device", "cpu", *arguments])
        assert end.value.code == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["layer.json"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_gpu_that_is_not_there(subject: str, capsys: pytest.CaptureFixture[str]) -> None:
    required = {
        "designs": ["--rows", "rows.csv", "--designs", "stock", "-i", "data", "-o", "runs"],
        "precisions": ["model"],
        "cold_start": ["model", "-i", "images"],
        "all": ["-o", "tables"],
    }.get(subject, [])
    with pytest.raises(SystemExit, match="2"):
        main(["benchmark", subject, *required, "-device", "cuda"])
    assert "-device cuda: torch" in capsys.readouterr().err


def test_networks_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    everywhere, first = network.chosen(["PyConv dilated"])
    assert [*everywhere, *first] == [*STOCK, "PyConv dilated"]
    assert network.chosen(None) == (network.CANDIDATES, network.ONCE)
    with pytest.raises(SystemExit, match="2"):
        main(["benchmark", "network", "--networks", "ResNet", "-device", "cpu"])
    assert "--networks 'ResNet' is unknown; expected some of 'stock'" in capsys.readouterr().err


MEASURED = [part for part in kit.STEPS if isinstance(part, kit.KitStep)]


def test_steps_of_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["benchmark", "all", "-device", "cpu", "-o", str(tmp_path / "new"), "--list"])
    commands = capsys.readouterr().out.splitlines()
    assert len(commands) == len(kit.STEPS)
    assert " benchmark layer " in commands[0]
    assert [command.startswith("nnUNet_compile=f ") for command in commands] == [
        "eager" in part.name for part in kit.STEPS
    ]
    for part in MEASURED:  # the subjects take their arguments
        for arguments in (part.arguments, part.rehearsal):
            parse(["benchmark", part.subject, *arguments])
    assert [command.rpartition(" --datasets ")[2].split()[0] for command in commands[-3:]] == [
        "liver",
        "kaggle_lung",
        "isbi_cell",
    ]
    with pytest.raises(SystemExit, match="2"):
        main(["benchmark", "all", "-device", "cpu", "-o", str(tmp_path), "--steps", "everything"])
    assert "--steps everything is unknown; expected some of layer, " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow  # each step is a process
def test_all_goes_on_where_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (small,) = (part for part in MEASURED if part.name == "layer")
    monkeypatch.setattr(kit, "STEPS", (kit.KitStep("broken", "layer", rehearsal=("--cases", "none")), small))
    arguments = ["benchmark", "all", "-device", "cpu", "-o", str(tmp_path), "--rehearse"]
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    assert "broken: measure failed with status 2" in capsys.readouterr().err
    assert "not NxCxEDGE" in (tmp_path / "broken" / "log.txt").read_text()
    table = tmp_path / "layer" / "layer.json"
    written = table.stat().st_mtime_ns
    main([*arguments, "--steps", "layer"])
    assert table.stat().st_mtime_ns == written
    assert "layer: done before" in capsys.readouterr().out


@pytest.mark.long
def test_rehearsal_of_all(tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    main(["benchmark", "all", "-device", "cpu", "-o", str(tmp_path), "--rehearse"])
    assert all(part.is_done(tmp_path) for part in MEASURED)
    assert "nnUNetv2_train 314 2d_pyconv_unet" in (tmp_path / "paper-liver" / "log.txt").read_text()


def test_earlier_tables_are_replaced_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "benchmark_layer", lambda *_: [Measurements("t", [{"a": 1}])])
    (tmp_path / "layer.md").write_text("old")
    main(["benchmark", "layer", "-device", "cpu", "-o", str(tmp_path), "--overwrite"])
    assert rows_of_markdown((tmp_path / "layer.md").read_text()) == [{"a": "1"}]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer.json", "layer.md"]


def test_machine_names_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "host-of-somebody")
    described = report.machine(CPU)
    assert not any(name in json.dumps(described) for name in ("host-of-somebody", socket.gethostname()))
    assert described["device"] == "cpu"
    assert described["threads"] == torch.get_num_threads()
    assert set(described["backends"]) >= {"fold", "reference"}
