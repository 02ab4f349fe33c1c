"""The comparison of designs: names, rows, summary, and one run from images to its row."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from conftest import NnunetFolders

from nnunet_pyconv.benchmarks.designs import data, runs, scoring, training
from nnunet_pyconv.benchmarks.designs.additions import GlobalResponseNorm, Residual
from nnunet_pyconv.benchmarks.designs.costs import RUNTIMES, read_costs
from nnunet_pyconv.benchmarks.designs.design import ComparedDesign, parse_design
from nnunet_pyconv.benchmarks.designs.summary import summarise
from nnunet_pyconv.benchmarks.report import Measurements, to_json
from nnunet_pyconv.benchmarks.runtimes import designed_network
from nnunet_pyconv.benchmarks.timing import Ratio
from nnunet_pyconv.cli import main
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.metrics import LabelImage
from nnunet_pyconv.planning import Design


def row(design: str, seed: int, dice: list[float], **changes: object) -> dict[str, str]:
    values = {
        "dataset": "liver",
        "design": design,
        "teacher": "",
        "loss": "",
        "iterations": 50,
        "seed": seed,
        **dict.fromkeys(runs.METRICS, 0.5),
        "training_s": 1,
        "dice_of_cases": " ".join(map(str, dice)),
        "pseudo_dice_of_epochs": "0.1 0.2",
        **changes,
    }
    return {name: str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("name", "design"),
    [
        ("stock", Design("stock")),
        ("dilated-w0.5", Design("dilated", 0.5)),
        ("plain-s5", Design("plain", stages=5)),
        ("stock-w0.7-m128", Design("stock", 0.7, max_features=128)),
        ("separable-w0.25-s4", Design("separable", 0.25, stages=4)),
        ("dilated-w0.5-p2", Design("dilated", 0.5, pyramid_stages=2)),
        ("plain-m64-s5-p2-l3-decoder", Design("plain", 1.0, 64, 5, 2, 3, "decoder")),
    ],
)
def test_names_are_read_as_they_are_written(name: str, design: Design) -> None:
    for written, compared in (
        (name, ComparedDesign(design)),
        (f"{name}-resenc", ComparedDesign(design, True)),
        (f"{name}-grn", ComparedDesign(design, addition="grn")),
    ):
        assert parse_design(written) == compared
        assert compared.name == written


@pytest.mark.parametrize(
    "name",
    [
        "",
        "dense",
        "stock-0.5",
        "dilated-w",
        "stock-w.5",
        "stock-w1.2.3",
        "stock-w0.3333333",
        "stock-w0.00001",
        "plain-resenc-s5",
        "plain-s5-w0.5",
        "plain-network",
        "stock-grn-resenc",
        "stock-grn-residual",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"expected a block \(plain, .*stock\)"):
        parse_design(name)


def test_additions_that_can_t_be_are_refused() -> None:
    with pytest.raises(InputError, match=r"-grn is for the default network; leave out -resenc"):
        ComparedDesign(Design("stock"), residual_encoder=True, addition="grn")
    for block in "stock", "dilated", "bottleneck":
        with pytest.raises(InputError, match=f"-interleaved is for the groups of plain; leave it out of {block}"):
            parse_design(f"{block}-interleaved")


def test_additions_are_around_each_convolution() -> None:
    """Compared with the network without them, which has the same weights."""
    x = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    outputs = {}
    for name in "plain-w0.5", "plain-w0.5-grn", "plain-w0.5-interleaved", "plain-w0.5-residual":
        torch.manual_seed(0)
        network = designed_network((64, 64), parse_design(name))
        if name == "plain-w0.5":
            weights = network.state_dict()
        else:  # a layer's modules are also in its list of them, where their numbers differ
            named = {key: value for key, value in weights.items() if "all_modules" not in key}
            missing = network.load_state_dict(named, strict=False).missing_keys
            assert all("all_modules" in key for key in missing)
        with torch.inference_mode():
            outputs[name] = network(x)
    plain = outputs.pop("plain-w0.5")
    assert torch.equal(outputs.pop("plain-w0.5-grn"), plain)  # the identity at the start
    assert all(output.shape == plain.shape and not torch.allclose(output, plain) for output in outputs.values())


def test_global_response_norm_raises_what_responds() -> None:
    norm = GlobalResponseNorm(2)
    torch.nn.init.constant_(norm.gamma, 1.0)
    torch.nn.init.constant_(norm.beta, 0.5)
    x = torch.tensor([[[3.0, 4.0], [0.0, 15.0]]])  # norms 5 and 15, mean 10
    torch.testing.assert_close(norm(x), torch.tensor([[[5.0, 6.5], [0.5, 38.0]]]), atol=1e-4, rtol=0)


def test_interleaved_channels_take_turns() -> None:
    network = designed_network((64, 64), parse_design("plain-w0.5-interleaved"))
    shuffle = network.encoder.stages[1][0].convs[1].all_modules[0]
    channels = shuffle(torch.arange(32.0).view(1, 32, 1, 1)).flatten().tolist()
    assert channels[:5] == [0, 8, 16, 24, 1]  # of four levels with 8 channels each


def test_a_residual_is_added_before_the_activation() -> None:
    network = designed_network((64, 64), parse_design("stock-w0.25-residual"))
    first, second = network.encoder.stages[1][0].convs
    assert not isinstance(first.all_modules[0], Residual)  # of a stride, and to more channels
    x = torch.randn(1, 16, 8, 8)
    with torch.inference_mode():
        expected = second.nonlin(second.norm(second.conv(x)) + x)
        torch.testing.assert_close(second(x), expected)


def test_rows_say_what_is_done(tmp_path: Path) -> None:
    file = tmp_path / "docs" / "rows.csv"
    stock = parse_design("stock")
    assert runs.done_runs(file) == set()
    runs.append_row(file, row("stock", 1, [0.5]))
    runs.append_row(file, row("dilated-w0.5", 2, [0.5], teacher="stock"))
    runs.append_row(file, row("stock", 1, [0.5], loss="boundary"))
    assert runs.done_runs(file) == {
        runs.DesignRun("liver", stock, 50, 1),
        runs.DesignRun("liver", parse_design("dilated-w0.5"), 50, 2, teacher=stock),
        runs.DesignRun("liver", stock, 50, 1, boundary=True),
    }
    assert len(file.read_text().splitlines()) == 4


def test_rows_of_other_data_sets_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    runs.append_row(file, row("stock", 1, [0.5], dataset="heart"))
    with pytest.raises(InputError, match="has rows of heart; expected isbi_cell, kaggle_lung, liver, hippocampus"):
        runs.read_rows(file)


def test_rows_of_other_columns_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("dataset,design\nliver,stock\n")
    with pytest.raises(InputError, match=r"rows\.csv has other columns than dataset, design, teacher, loss"):
        runs.read_rows(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is no file"), ("liver,stock\n", "has a broken row, 2"), ("," * len(runs.COLUMNS) + "\n", "broken row, 2")],
)
def test_broken_rows_are_refused(content: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    if content is None:
        file.mkdir()
    else:
        file.write_text(",".join(runs.COLUMNS) + "\n" + content)
    with pytest.raises(InputError, match=message):
        runs.read_rows(file)


def test_baseline_has_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.csv"
    runs.append_row(file, row("stock", 1, [0.5, 0.7]))
    main(["benchmark", "designs", "--rows", str(file)])
    main(["benchmark", "designs", "--rows", str(file), "--baseline", "stock-w1.0"])
    assert "- stock (p; seeds above)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["benchmark", "designs", "--rows", str(file), "--baseline", "plain"])
    assert "--baseline plain: no row is of it; expected one of stock" in capsys.readouterr().err


def test_summary_compares_the_means_of_the_seeds() -> None:
    summary = summarise(
        [
            row("stock", 1, [0.5, 0.7]),
            row("stock", 2, [0.7, 0.9]),
            row("plain", 1, [0.8, 0.9]),
            row("plain", 2, [0.8, 1.0]),
            row("plain", 3, [0.8, 0.95]),
            row("plain", 1, [0.9, 0.9], teacher="stock"),
            row("plain", 1, [0.8, 0.9], loss="boundary"),
        ],
        baseline="stock",
    )
    table = summary.to_markdown()
    assert "**liver, 50 iterations, 2 unseen cases**" in table
    plain, boundary, taught, stock = (
        line.split(" | ") for line in table.splitlines() if line.startswith(("| plain", "| stock"))
    )
    # stock has 0.6 and 0.8 a case over both seeds, plain 0.8 and 0.95; the means of its seeds are 0.85, 0.9 and 0.875
    assert plain[1:4] == ["3", "0.8750 (0.8000-0.9500)", "0.0500"]
    assert re.fullmatch(r"\+0\.1750 \(.*; 2 of 2\)", plain[4])
    assert boundary[:3] == ["| plain, boundary loss", "1", "0.8500 (0.8000-0.9000)"]
    assert taught[:3] == ["| plain, taught by stock", "1", "0.9000 (0.9000-0.9000)"]
    assert stock[4] == "-"
    assert "v_rand" not in table  # a score of cells


def test_summary_needs_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["benchmark", "designs", "--rows", str(tmp_path / "rows.csv")])
    assert exit_.value.code == 2
    assert "no rows yet" in capsys.readouterr().err


def test_summary_is_written(tmp_path: Path) -> None:
    summarise([row("stock", 1, [0.5, 0.7])], "stock").write(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["designs.md", "designs.png"]


def test_costs_stand_beside_the_scores(tmp_path: Path) -> None:
    times = {f"{runtime} / stock": Ratio(1.0, 0.5, 0.4, 0.6) for runtime in RUNTIMES}
    times |= {"step / stock": Ratio(1.0, 0.75, 0.4, 0.6), "peak / stock": 0.25}
    measured = [{"design": name, "parameters, M": 1.25, "GMac": 3.5, **times} for name in ("stock", "plain-w0.5")]
    file = tmp_path / "runtimes.json"
    file.write_text(to_json({}, [Measurements("title", measured)]))
    summary = summarise([row("stock", 1, [0.5, 0.7])], "stock", read_costs(file))
    summary.write(tmp_path)
    assert "| stock | 1.25 | 3.50 | 0.75 | 0.25 | 0.50 | 0.50 | 0.50 |" in (tmp_path / "designs.md").read_text()
    assert "plain" not in summary.to_markdown()  # not trained


@pytest.mark.parametrize("content", ["", "[]", '{"tables": [{"rows": [{}]}]}', None])
def test_other_files_are_no_costs(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "runtimes.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=r"--costs .*runtimes\.json can't be read .*benchmark runtimes"):
        read_costs(file)


def test_scores_of_a_shifted_square() -> None:
    truth, prediction = np.zeros((2, 20, 20), int)
    truth[5:15, 5:15] = 1
    prediction[5:15, 7:17] = 1
    scores = scoring.score(LabelImage(truth, prediction, (1.0, 1.0), {"foreground": 1}, None, 2.0))
    assert set(scores) == set(scoring.METRICS)
    assert scores["dice"] == pytest.approx(2 * 80 / 200)
    assert scores["iou"] == pytest.approx(80 / 120)
    assert scores["mean_iou"] == pytest.approx((80 / 120 + 280 / 320) / 2)
    assert scores["hd95"] == pytest.approx(2)
    assert not math.isnan(scores["v_rand"])


def test_scores_of_several_classes_are_their_mean() -> None:
    truth = np.zeros((4, 20, 20), int)
    truth[:, 5:15, 5:15] = 1
    truth[:, 5:15, 16:18] = 2
    prediction = np.where(truth == 2, 0, truth)
    scores = scoring.score(LabelImage(truth, prediction, (1.0, 1.0, 1.0), {"a": 1, "b": 2}, None, 1.0))
    assert scores["dice"] == pytest.approx(0.5)
    assert math.isnan(scores["v_rand"])


def hippocampi(folder: Path, names: Sequence[str]) -> Path:
    """Volumes of the layout of Task04, one more image and one more label volume without partner."""
    rng = np.random.default_rng(0)
    for index, name in enumerate([*names, "image", "labels"]):
        labels = np.zeros((18, 20, 16), np.uint8)
        labels[4:12, 4:10, 4:12] = 1
        labels[4:12, 10:15, 4:12] = 2
        image = labels + rng.normal(0, 0.3, labels.shape).astype(np.float32) + index
        for kind, array in (("images", image), ("labels", labels)):
            if name not in ("image", "labels") or kind.startswith(name):
                (folder / "hippocampus" / kind).mkdir(parents=True, exist_ok=True)
                file = folder / "hippocampus" / kind / f"hippocampus_{name}.nii.gz"
                SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(file))
    return folder


@pytest.mark.slow
def test_a_run_in_3d(tmp_path: Path, nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    source = hippocampi(tmp_path, [f"{number:03d}" for number in range(10)])
    compared = data.ComparedDataset("hippocampus", "hippocampus", None, (16, 16, 16), 2, 1.0)
    monkeypatch.setitem(data.COMPARED_DATASETS, "hippocampus", compared)
    rows = tmp_path / "rows.csv"
    arguments = ["--rows", str(rows), "-i", str(source), "-o", str(tmp_path / "runs"), "-device", "cpu"]
    command = ["benchmark", "designs", *arguments, "--datasets", "hippocampus", "--designs", "dilated-w0.25"]
    main([*command, "--iterations", "25", "--seeds", "1"])
    (only,) = runs.read_rows(rows)
    assert len(only["dice_of_cases"].split()) == 2
    assert 0 < float(only["dice"]) <= 1
    assert only["v_rand"] == "nan"
    assert "v_rand" not in summarise([only], "stock").to_markdown()


def test_a_dataset_without_test_cases(
    isbi_tiffs: Path, nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = data.ComparedDataset("isbi_cell", isbi_tiffs.name, None, (16, 16), 2)
    (nnunet_folders.raw / "Dataset312_ISBICell" / "imagesTr").mkdir(parents=True)
    with pytest.raises(InputError, match="Dataset312_ISBICell has no imagesTs to score; set nnUNet_raw to a folder"):
        data.prepare(compared, isbi_tiffs.parent)


def test_hippocampi_that_are_not_there(tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    with pytest.raises(InputError, match=r"hippocampus has no images/NAME\.nii\.gz with labels/NAME\.nii\.gz"):
        data.prepare(data.COMPARED_DATASETS["hippocampus"], tmp_path)


@pytest.mark.slow
def test_a_run_leaves_its_row_and_is_not_done_again(
    isbi_tiffs: Path,
    tmp_path: Path,
    nnunet_folders: NnunetFolders,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    compared = data.ComparedDataset("isbi_cell", isbi_tiffs.name, None, (16, 16), 2)
    monkeypatch.setitem(data.COMPARED_DATASETS, "isbi_cell", compared)
    rows = tmp_path / "rows.csv"
    arguments = ["--rows", str(rows), "-i", str(isbi_tiffs.parent), "-o", str(tmp_path / "runs"), "-device", "cpu"]
    command = ["benchmark", "designs", *arguments, "--datasets", "isbi_cell", "--designs", "separable-w0.25"]
    for _ in range(2):
        main([*command, "--iterations", "25", "--seeds", "1"])
    (only,) = runs.read_rows(rows)
    assert (only["design"], only["teacher"], only["seed"]) == ("separable-w0.25", "", "1")
    assert len(only["dice_of_cases"].split()) == len(list((tmp_path / "runs").glob("*/test/*.png"))) == 2
    assert float(only["dice"]) == pytest.approx(
        np.mean([float(each) for each in only["dice_of_cases"].split()]), abs=1e-4
    )
    taught = ["benchmark", "designs", *arguments, "--datasets", "isbi_cell", "--designs", "stock-w0.25", "--iterations"]
    main([*taught, "25", "--seeds", "1", "--teacher", "separable-w0.25"])
    row_of_taught = runs.read_rows(rows)[1]
    assert (row_of_taught["design"], row_of_taught["teacher"]) == ("stock-w0.25", "separable-w0.25")
    with pytest.raises(SystemExit):
        main([*taught, "25", "--seeds", "2", "--teacher", "separable-w0.25"])
    assert "separable-w0.25_it25_seed2 has no trained network; train that design first" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*taught, "25", "--seeds", "1", "--teacher", "separable-w0.25", "--boundary"])
    main([*taught, "25", "--seeds", "1", "--boundary"])
    assert [each["loss"] for each in runs.read_rows(rows)] == ["", "", "boundary"]


@pytest.mark.slow
def test_same_seed_same_weights_and_batches(
    isbi_tiffs: Path, tmp_path: Path, nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of one seed are of the same batches, so that designs can be compared pair by pair."""
    compared = data.ComparedDataset("isbi_cell", isbi_tiffs.name, None, (16, 16), 2)
    prepared = data.prepare(compared, isbi_tiffs.parent)
    device = torch.device("cpu")
    for name in ("a", "b"):
        runs.execute(
            runs.DesignRun("isbi_cell", parse_design("stock-w0.25"), 25, 7),
            prepared,
            tmp_path / name,
            tmp_path / f"{name}.csv",
            device,
        )
    # a run that was ended after its training, compiled, goes on with the prediction
    compiled = partial(torch.compile, backend="eager")
    monkeypatch.setattr(training.nnUNetTrainerDesign, "_do_i_compile", lambda _: True)
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.torch.compile", compiled)
    monkeypatch.setattr(training.nnUNetTrainerDesign, "train_step", lambda *_: pytest.fail("trained again"))
    (tmp_path / "a.csv").unlink()
    runs.execute(
        runs.DesignRun("isbi_cell", parse_design("stock-w0.25"), 25, 7),
        prepared,
        tmp_path / "a",
        tmp_path / "a.csv",
        device,
    )
    (a,), (b,) = (runs.read_rows(tmp_path / f"{name}.csv") for name in ("a", "b"))
    assert a["pseudo_dice_of_epochs"] == b["pseudo_dice_of_epochs"]
    assert a["dice_of_cases"] == b["dice_of_cases"]
