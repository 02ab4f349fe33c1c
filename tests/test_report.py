"""The report's tables, figures and files."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import skimage.io as io
import torch
from conftest import NnunetFolders
from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
from results_folders import MadeDataset, square

from nnunet_pyconv import paper
from nnunet_pyconv.cli import main, parse
from nnunet_pyconv.cli.report import read_request
from nnunet_pyconv.evaluation.dataset import RawDataset
from nnunet_pyconv.evaluation.models import ModelFilter
from nnunet_pyconv.evaluation.picture import FALSE_NEGATIVE, FALSE_POSITIVE, OTHER_CLASS
from nnunet_pyconv.evaluation.report import ReportRequest
from nnunet_pyconv.evaluation.report.cases import choose_cases, fill_colours
from nnunet_pyconv.evaluation.report.paper_figures import comparable, impossible, neurites, paper_dataset
from nnunet_pyconv.evaluation.report.tables import Column, ReportTable, TableCell, shown
from nnunet_pyconv.nnunet_folders import Setup

TRAINER, PLANS = "nnUNetTrainerPyConvPaper", "PyConvUNetPaperPlans"
UNET, OURS = f"{TRAINER}__{PLANS}__2d_unet", f"{TRAINER}__{PLANS}__2d_pyconv_unet"
SLUG = "Dataset313_KaggleLung_validation"


@pytest.fixture
def made(nnunet_folders: NnunetFolders) -> MadeDataset:
    """Six cases; PyConvU-Net is right, U-Net misses one row more with each."""
    return make(nnunet_folders)


@pytest.fixture(scope="module")
def reported(module_folders: NnunetFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on them, to be read alone."""
    make(module_folders)
    return report(tmp_path_factory.mktemp("reported"))


def make(folders: NnunetFolders) -> MadeDataset:
    truth = {f"case_{index}": square(16, 2, 14, 2, 14) for index in range(6)}
    made = MadeDataset(folders, "Dataset313_KaggleLung", truth, {"background": 0, "lung": 1})
    made.model(UNET, {f"case_{index}": square(16, 3 + index, 14, 2, 14) for index in range(6)})
    made.model(OURS, truth, network="nnunet_pyconv.architectures.PyConvUNet")
    return made


def report(tmp_path: Path, *arguments: str) -> Path:
    folder = tmp_path / "report"
    main(["report", "-np", "1", "-o", str(folder), *arguments])
    return folder


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["report", "-np", "1", *arguments])
    assert exit_.value.code == 2
    return capsys.readouterr().err


def test_files(made: MadeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = report(tmp_path)
    tables = ("table_2", "differences", "paper", "models")
    assert {path.name for path in (folder / "tables").iterdir()} == {
        f"{SLUG}_{table}.{ending}" for table in tables for ending in ("csv", "md")
    } | {f"{SLUG}_cases.csv"}
    assert {path.name for path in (folder / "figures").iterdir()} == {
        f"{SLUG}_figure_{number}.{ending}" for number in (2, 3, 4) for ending in ("png", "svg")
    }
    assert f"Wrote {folder / 'report.html'}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_table_2_by_hand(reported: Path) -> None:
    """U-Net has 11, 10, ..., 6 of 12 rows: IoU k/12 and Dice 2k/(k + 12)."""
    unet, ours = rows(reported / f"tables/{SLUG}_table_2.csv")
    assert (unet["model"], ours["model"]) == ("U-Net", "PyConvU-Net")
    kept = np.arange(6, 12)
    assert float(unet["iou"]) == pytest.approx(np.mean(kept / 12))
    assert float(unet["dice"]) == pytest.approx(np.mean(2 * kept / (kept + 12)))
    background = 256 - 144
    assert float(unet["mean_iou"]) == pytest.approx(np.mean((kept / 12 + background / (256 - 12 * kept)) / 2))
    assert float(ours["hd95"]) == 0
    assert float(unet["iou_low"]) < float(unet["iou"]) < float(unet["iou_high"])
    assert (unet["paper_iou"], ours["paper_dice"], ours["images"]) == ("0.7279", "0.9339", "6")


def test_differences_by_hand(reported: Path) -> None:
    """All six images agree on the sign: p = 2/64, and with one comparison Holm's is the same."""
    (ours,) = rows(reported / f"tables/{SLUG}_differences.csv")
    assert float(ours["iou"]) == pytest.approx(1 - np.mean(np.arange(6, 12) / 12))
    assert (float(ours["dice_p"]), float(ours["dice_p_holm"])) == (2 / 64, 2 / 64)


def test_baseline_is_chosen(made: MadeDataset, tmp_path: Path) -> None:
    (unet,) = rows(report(tmp_path, "--baseline", OURS) / f"tables/{SLUG}_differences.csv")
    assert (unet["model"], float(unet["iou"]) < 0) == ("U-Net", True)
    page = (tmp_path / "report/report.html").read_text()
    assert "Baseline: PyConvU-Net (given with --baseline)." in page


def test_holm_over_the_models(made: MadeDataset, tmp_path: Path) -> None:
    made.model(f"{TRAINER}__{PLANS}__2d_fcn8s", made.truth)
    for row in rows(report(tmp_path) / f"tables/{SLUG}_differences.csv"):
        assert (float(row["dice_p"]), float(row["dice_p_holm"])) == (2 / 64, 4 / 64)


def test_impossible_row_has_its_footnote(reported: Path) -> None:
    for table in ("table_2", "paper"):
        text = (reported / f"tables/{SLUG}_{table}.md").read_text()
        assert "0.9339" in text
        assert "(a) This pair can't be" in text
        assert "lies between 0.9630 and 0.9812; the paper prints 0.9339" in text
    assert "**0.9630** (a)" in (reported / f"tables/{SLUG}_paper.md").read_text()


def test_only_one_row_of_the_paper_is_impossible() -> None:
    found = [
        (key, network.name)
        for network in paper.NETWORKS
        for key, printed in network.table_2.items()
        if impossible(printed)
    ]
    assert found == [("kaggle_lung", "PyConvU-Net")]
    assert impossible(paper.Overlap(0.5, 0.7)) != ""  # 2 x 0.5 / 1.5 = 0.6667


def dataset(name: str, **labels: int) -> RawDataset:
    return RawDataset(Path(name), {"labels": {"background": 0, **labels}, "file_ending": ".png"})


def test_which_datasets_are_the_papers() -> None:
    assert paper_dataset(dataset("Dataset001_Other", a=1)) is None
    liver = paper_dataset(dataset("Dataset314_Liver", liver=1))
    assert liver is not None
    assert "patients can't be told apart" in liver.note
    cells, membranes = dataset("Dataset312_ISBICell", cell=1), dataset("Dataset312_isbicell", membrane=1)
    assert (comparable(cells), comparable(membranes)) == (True, False)
    for data, is_membrane in ((cells, False), (membranes, True)):
        rule = neurites(data, on_probabilities=False)
        assert rule is not None
        assert (rule.label, rule.is_membrane) == (1, is_membrane)
    assert neurites(dataset("Dataset313_KaggleLung", lung=1), on_probabilities=False) is None


def test_cases_and_logs(reported: Path) -> None:
    cases = rows(reported / f"tables/{SLUG}_cases.csv")
    assert [(row["model"], row["case"]) for row in cases[:2]] == [(UNET, "case_0"), (UNET, "case_1")]
    assert float(cases[1]["iou_lung"]) == pytest.approx(10 / 12)
    model = rows(reported / f"tables/{SLUG}_models.csv")[1]
    assert (model["network"], model["epochs"], model["train_loss"]) == ("PyConvUNet", "2", "0.5")


@pytest.mark.slow
def test_curves_of_a_model_without_checkpoint_are_left_out(made: MadeDataset, tmp_path: Path) -> None:
    (made.results / UNET / "fold_0/checkpoint_final.pth").unlink()
    folder = report(tmp_path)
    svg = (folder / f"figures/{SLUG}_figure_2.svg").read_text()
    assert "PyConvU-Net" in svg
    assert ">U-Net<" not in svg
    assert rows(folder / f"tables/{SLUG}_models.csv")[0]["epochs"] == ""


def test_images_that_count(nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    """Where neither truth nor prediction has the class, the image has no Dice; a dataset named twice counts once."""
    truth = {"a": square(12, 1, 5, 1, 5), "b": np.zeros((12, 12), int)}
    made = MadeDataset(nnunet_folders, "Dataset007_Blob", truth)
    made.model(UNET, truth)
    folder = report(tmp_path, "-d", "7", "Dataset007_Blob")
    (row,) = rows(folder / "tables/Dataset007_Blob_validation_table_2.csv")
    assert (row["images"], row["dice"], row["dice_low"], row["mean_iou"]) == ("1", "1.0", "", "1.0")
    assert (folder / "report.html").read_text().count("<h2>Dataset007_Blob") == 1


def test_membranes_have_no_figures_of_the_paper(nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    truth = {f"case_{index}": square(12, 1, 3, 1, 11) for index in range(2)}
    made = MadeDataset(nnunet_folders, "Dataset312_ISBICell", truth, {"background": 0, "membrane": 1})
    made.model(UNET, truth)
    folder = report(tmp_path)
    slug = "Dataset312_ISBICell_validation"
    (row,) = rows(folder / f"tables/{slug}_table_2.csv")
    assert "paper_iou" not in row
    assert float(row["v_rand"]) == 1
    assert "not comparable" in (folder / f"tables/{slug}_paper.md").read_text()
    assert "From the predicted labels" in (folder / f"tables/{slug}_table_2.md").read_text()
    assert not (folder / f"tables/{slug}_differences.csv").exists()


def test_classes_have_their_own_table(nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    truth = {"a": square(12, 1, 5, 1, 5) + 2 * square(12, 6, 10, 1, 5), "b": square(12, 1, 5, 1, 5)}
    made = MadeDataset(nnunet_folders, "Dataset007_Two", truth, {"background": 0, "one": 1, "two": 2})
    made.model(UNET, truth, dices=[[0.5, np.nan], [0.8, 0.4]])
    folder = report(tmp_path)
    one, two = rows(folder / "tables/Dataset007_Two_validation_classes.csv")
    assert (one["class"], one["images"], two["class"], two["images"]) == ("one", "2", "two", "1")
    assert not (folder / "tables/Dataset007_Two_validation_paper.csv").exists()


def test_predictions_of_test_cases(made: MadeDataset, tmp_path: Path) -> None:
    for name, bottom in (("good", 14), ("bad", 8)):
        for case in ("t1", "t2"):
            made.write(tmp_path / name / f"{case}.png", square(16, 2, bottom, 2, 14))
            made.write(made.raw / f"labelsTs/{case}.png", square(16, 2, 14, 2, 14))
    folder = report(tmp_path, "-d", "313", "--predictions", f"good={tmp_path / 'good'}", f"bad={tmp_path / 'bad'}")
    good, bad = rows(folder / "tables/Dataset313_KaggleLung_test_table_2.csv")
    assert (good["model"], float(good["iou"]), float(bad["iou"])) == ("good", 1, 0.5)
    page = (folder / "report.html").read_text()
    assert "Split: clean" in page
    assert "Split: the paper" not in page
    assert not (folder / "figures/Dataset313_KaggleLung_test_figure_2.svg").exists()
    assert (folder / "figures/Dataset313_KaggleLung_test_figure_4.png").exists()


def test_split_of_the_paper_and_names_with_dollars(made: MadeDataset, tmp_path: Path) -> None:
    for folder in (tmp_path / "predicted", made.raw / "labelsTs"):
        made.write(folder / "case_0.png", square(16, 2, 14, 2, 14))
    folder = report(tmp_path, "-d", "313", "--predictions", rf"$\foo$={tmp_path / 'predicted'}")
    page = (folder / "report.html").read_text()
    assert "Split: the paper" in page
    assert "Split: clean" not in page
    assert r"$\foo$" in (folder / "figures/Dataset313_KaggleLung_test_figure_4.svg").read_text()


def test_volumes(nnunet_folders: NnunetFolders, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plate of one slice, predicted one slice too high: 3 mm, the distance of slices, and no overlap."""
    raw = nnunet_folders.raw / "Dataset008_Plates"
    truth, prediction = np.zeros((5, 12, 10), np.uint8), np.zeros((5, 12, 10), np.uint8)
    truth[2, 2:10, 2:8], prediction[3, 2:10, 2:8] = 1, 1
    for file, array in (
        (raw / "imagesTs/a_0000.nii.gz", truth * 100.0),
        (raw / "labelsTs/a.nii.gz", truth),
        (tmp_path / "predictions/a.nii.gz", prediction),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing((1.0, 1.0, 3.0))
        SimpleITK.WriteImage(image, str(file))
    generate_dataset_json(str(raw), {0: "CT"}, {"background": 0, "plate": 1}, 0, ".nii.gz")
    predictions = f"mine={tmp_path / 'predictions'}"
    folder = report(tmp_path, "-d", "8", "--predictions", predictions, "--tolerance", "3")
    (row,) = rows(folder / "tables/Dataset008_Plates_test_table_2.csv")
    assert (float(row["dice"]), float(row["hd95"]), float(row["nsd"])) == (0, 3, 1)
    page = (folder / "report.html").read_text()
    assert "HD95 / mm" in page
    assert "Best: a, slice 2" in page
    image.SetSpacing((1.0, 1.0, 2.0))
    SimpleITK.WriteImage(image, str(tmp_path / "predictions/a.nii.gz"))
    said = fails(capsys, "-d", "8", "--predictions", predictions, "-o", str(tmp_path / "second"))
    assert re.search(r"a.nii.gz has pixels of 2 x 1 x 1 mm and its truth .* of 3 x 1 x 1 mm; expected the same", said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-d", "5"], "dataset '5' not found in your nnU-Net folders"),
        (["--tolerance", "nan"], "--tolerance nan: expected a distance"),
        (["--predictions", "mine"], "--predictions mine: expected NAME=FOLDER"),
        (["--predictions", "a=x", "a=y"], "the name a is given twice"),
        (["--baseline", "nix"], "--baseline nix: no such model"),
        (["-d", "313", "7"], "no trained model of Dataset007_Untrained"),
        (["-d", "313", "-c", "3d_fullres"], "-c 3d_fullres: no trained model of Dataset313_KaggleLung has this"),
        (
            ["-c", "2d_unet", "2d_typo"],
            "-c 2d_typo: no trained model of Dataset313_KaggleLung has this; there are 2d_py",
        ),
        (["-gt", "nowhere"], "-gt nowhere is the truth of --predictions NAME=FOLDER, and there are none"),
        (["-f", "2"], "has no fold_2"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_bad_arguments(
    arguments: list[str], message: str, made: MadeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    MadeDataset(made.folders, "Dataset007_Untrained", made.truth)
    assert message in fails(capsys, "-o", str(tmp_path / "report"), *arguments)
    assert not (tmp_path / "report").exists()


def test_nothing_trained(nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nnUNet_results holds no trained model" in fails(capsys)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["label", "log"])
def test_earlier_report_stays_where_the_new_one_fails(
    damage: str, made: MadeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = report(tmp_path)
    before = (folder / "report.html").read_bytes()
    if damage == "label":
        made.write(made.results / OURS / "fold_0/validation/case_3.png", square(16, 2, 14, 2, 14) * 255)
    else:
        torch.save({"logging": {}}, made.results / OURS / "fold_0/checkpoint_final.pth")
    assert "error: " in fails(capsys, "-o", str(folder), "--overwrite")
    assert (folder / "report.html").read_bytes() == before
    assert "exists already; replace it with --overwrite" in fails(capsys, "-o", str(folder))


@pytest.mark.slow
def test_other_folders_are_never_replaced(
    made: MadeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    assert "is not a report" in fails(capsys, "-o", str(tmp_path / "mine"), "--overwrite")
    (tmp_path / "mine/report.html").write_text("<html>of somebody else</html>")
    assert "is not a report" in fails(capsys, "-o", str(tmp_path / "mine"), "--overwrite")
    mine = report(tmp_path) / "notes.txt"
    mine.touch()
    (mine.parent / ".DS_Store").touch()  # a file manager's, which doesn't count
    assert "holds other things too (notes.txt)" in fails(capsys, "-o", str(tmp_path / "report"), "--overwrite")
    assert mine.exists()


@pytest.mark.slow
def test_current_folder_is_never_moved(
    made: MadeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(report(tmp_path))
    for folder in (".", "..", str(tmp_path / "report")):
        assert f"-o {folder} is or holds the current folder" in fails(capsys, "-o", folder, "--overwrite")


@pytest.mark.slow
def test_overwrite(made: MadeDataset, tmp_path: Path) -> None:
    report(tmp_path)
    shutil.rmtree(made.results / OURS)
    folder = report(tmp_path, "--overwrite")
    assert not (folder / f"tables/{SLUG}_differences.csv").exists()


def test_missing_extra(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnunet_pyconv.evaluation.report.write.MODULES", ("jinja2", "no_such_package"))
    message = fails(capsys)
    assert message.startswith("error: no_such_package is not installed")
    assert 'pip install ".[report]"' in message


@pytest.mark.parametrize(
    ("dice", "chosen"),
    [
        ([[0.5, 0.9, 0.7, 0.6], [0.5, 0.7, 0.7, 0.8]], {"best": 1, "median": 2, "worst": 0}),
        ([[0.5, 0.9]], {"best": 1, "worst": 0}),
        ([[math.nan, 0.9]], {"best": 1}),
        ([[math.nan, 0.2, 0.4], [0.3, math.nan, 0.4]], {"best": 2, "median": 0, "worst": 1}),
        ([[math.nan]], {}),
    ],
    ids=["mean over models", "two", "one", "missing values", "none"],
)
def test_best_median_and_worst(dice: list[list[float]], chosen: dict[str, int]) -> None:
    assert choose_cases(np.array(dice)) == chosen


def test_fill_colours_start_again_after_the_last() -> None:
    colours = fill_colours(np.array([[0, 1, 2, 6]]))
    assert (colours[0, 0] == 0).all()
    assert (colours[0, 1] == colours[0, 3]).all()
    assert (colours[0, 1] != colours[0, 2]).any()


def test_figure_4_shows_errors_in_colour(reported: Path) -> None:
    picture = io.imread(reported / f"figures/{SLUG}_figure_4.png")[..., :3]
    assert FALSE_NEGATIVE in {tuple(colour) for colour in picture.reshape(-1, 3)}


def test_figure_4_leaves_ignored_pixels_out(nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    truth, prediction = square(16, 2, 8, 2, 14), square(16, 2, 8, 2, 14)
    truth[10:], prediction[12:] = 2, 1
    made = MadeDataset(nnunet_folders, "Dataset007_Blob", {"a": truth}, {"background": 0, "cell": 1, "ignore": 2})
    made.model(UNET, {"a": prediction})
    picture = io.imread(report(tmp_path) / "figures/Dataset007_Blob_validation_figure_4.png")[..., :3]
    colours = {tuple(colour) for colour in picture.reshape(-1, 3)}
    assert not colours & {FALSE_POSITIVE, FALSE_NEGATIVE, OTHER_CLASS}


@pytest.mark.slow
def test_figure_4_with_an_image_of_another_size(made: MadeDataset, tmp_path: Path) -> None:
    for case in made.truth:
        made.write(made.raw / f"imagesTr/{case}_0000.png", np.ones((20, 20)))
    assert re.search(r"Best: case_\d, without an image of this size", (report(tmp_path) / "report.html").read_text())


def test_table_as_csv_and_markdown() -> None:
    columns = [Column("model", "Model", numeric=False), Column("dice", "Dice | %", extras=("low",))]
    table = ReportTable(
        "slug",
        "Title",
        "What it is.",
        columns,
        [
            [TableCell("a_b"), TableCell(-0.25, 1, signed=True, best=True, small="-1 to 1", extras=(-1.0,))],
            [TableCell("c", footnote="a"), TableCell(math.nan, 1, extras=(math.nan,))],
        ],
        ["A note."],
        (("a", "Why."),),
    )
    assert table.to_csv() == "model,dice,dice_low\na_b,-0.25,-1.0\nc,,\n"
    assert table.to_markdown() == (
        "## Title\n\nWhat it is.\n\n| Model | Dice \\| % |\n| --- | ---: |\n"
        "| a\\_b | **\u22120.2** (-1 to 1) |\n| c (a) | \u2013 |\n\n- A note.\n- (a) Why.\n"
    )


def test_dice_and_iou_recomputed_from_the_files(made: MadeDataset, tmp_path: Path) -> None:
    """By a second, independent computation, from what lies on the disk."""
    random = np.random.default_rng(0)
    for case in made.truth:
        made.write(made.raw / f"labelsTr/{case}.png", random.integers(0, 2, (16, 16)))
        for name in (UNET, OURS):
            made.write(made.results / name / f"fold_0/validation/{case}.png", random.integers(0, 2, (16, 16)))
    found = {(row["model"], row["case"]): row for row in rows(report(tmp_path) / f"tables/{SLUG}_cases.csv")}
    assert len(found) == 12
    for (name, case), row in found.items():
        truth = io.imread(made.raw / f"labelsTr/{case}.png") == 1
        prediction = io.imread(made.results / name / f"fold_0/validation/{case}.png") == 1
        both = np.count_nonzero(truth & prediction)
        assert float(row["iou_lung"]) == pytest.approx(both / np.count_nonzero(truth | prediction))
        assert float(row["dice_lung"]) == pytest.approx(
            2 * both / (np.count_nonzero(truth) + np.count_nonzero(prediction))
        )


def test_names_that_mean_something_to_spreadsheets_figures_and_markdown(
    nnunet_folders: NnunetFolders, tmp_path: Path
) -> None:
    """A formula, TeX, Markdown and half a character, as cases and as a class."""
    names = ["=1+1", "$\\frac$", "a_b|c", os.fsdecode(b"half\xe9")]
    truth = {name: square(12, 1, 5, 1, 5) for name in names}
    labels = {"background": 0, "@cmd|\ud83d": 1}
    made = MadeDataset(nnunet_folders, "Dataset007_Blob", truth, labels)
    made.model(UNET, truth)
    slug = "Dataset007_Blob_validation"
    folder = report(tmp_path)
    cases = [row["case"] for row in rows(folder / f"tables/{slug}_cases.csv")]
    assert sorted(cases) == sorted(["'=1+1", "$\\frac$", "a_b|c", "half?"])
    assert "$\\frac$" in (folder / f"figures/{slug}_figure_4.svg").read_text()
    assert "half?" in (folder / "report.html").read_text()
    assert "iou_@cmd|?" in (folder / f"tables/{slug}_cases.csv").read_text()


def test_text_of_tables_is_plain(made: MadeDataset, tmp_path: Path) -> None:
    made.write(tmp_path / "p/a.png", square(16, 2, 14, 2, 14))
    made.write(made.raw / "labelsTs/a.png", square(16, 2, 14, 2, 14))
    names = ("@mine|*x*", "+third")
    predictions = [f"{name}={tmp_path / 'p'}" for name in names]
    folder = report(tmp_path, "-d", "313", "--predictions", *predictions)
    tables = folder / "tables"
    models = [row["model"] for row in rows(tables / "Dataset313_KaggleLung_test_table_2.csv")]
    assert models == ["'@mine|*x*", "'+third"]
    differences = (tables / "Dataset313_KaggleLung_test_differences.md").read_text()
    assert differences.startswith("## Differences to @mine\\|\\*x\\*\n")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"background": 0, "cell": 1.5}, "the label 1.5 is no whole number"),
        ({"background": 0, "cell": True}, "the label True is no whole number"),
        ({"background": 0, "cell": 1, "lung": 1}, "'cell' and 'lung' are both label 1"),
        ({"background": 0, "cell": [1, 2], "lung": [1, 2]}, "'cell' and 'lung' are both label"),
        ({"background": 0, "cell": "one"}, "invalid literal"),
    ],
    ids=["half", "bool", "twice", "region twice", "text"],
)
def test_labels_that_cannot_be(
    labels: dict[str, object], message: str, made: MadeDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    file = made.raw / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "labels": labels}))
    said = fails(capsys)
    assert "dataset.json is not a dataset.json of nnU-Net" in said
    assert message in said


@pytest.mark.slow
def test_hidden_folders_are_no_results(made: MadeDataset, tmp_path: Path) -> None:
    shutil.copytree(made.results / OURS, made.results / f".{OURS}-abc")
    (made.results / f".{OURS}-abc/fold_0/validation/summary.json").unlink()
    (made.results / OURS / ".fold_1").mkdir()
    assert len(rows(report(tmp_path) / f"tables/{SLUG}_table_2.csv")) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "also"), [(TRAINER, ""), (f"{TRAINER}BF16", "; trained in mixed precision, bfloat16 on a CPU")]
)
def test_shortened_trainings_say_so(made: MadeDataset, tmp_path: Path, recipe: str, also: str) -> None:
    """Below the scores, of validation cases and of test images whose predictions are named like the model."""
    shutil.rmtree(made.results)
    short = f"{recipe}_5epochs__{PLANS}_spacing_2x2__2d_unet"
    made.model(short, made.truth)
    plans = {
        "original_median_spacing_after_transp": [999.0, 1.0, 1.0],
        "configurations": {"2d": {"spacing": [2.0, 2.0]}, "2d_unet": {"inherits_from": "2d"}},
    }
    (made.results / short / "plans.json").write_text(json.dumps(plans))
    made.write(made.raw / "labelsTs/case_0.png", made.truth["case_0"])
    predictions = f"{short}={made.results / short / 'fold_0/validation'}"
    folder = report(tmp_path, "-d", "313", "--models", short, "--predictions", predictions)
    for kind in ("validation", "test"):
        table = (folder / f"tables/Dataset313_KaggleLung_{kind}_table_2.md").read_text()
        assert (
            "- Shortened (all models): 5 of the paper's 50 epochs; trained on images resampled to pixels of 2 x 2 px, "
            f"with predictions at full resolution{also}." in table
        )
        (row,) = rows(folder / f"tables/Dataset313_KaggleLung_{kind}_models.csv")
        assert (row["spacing"], row["plans"]) == ("2 x 2", f"{PLANS}_spacing_2x2")
        (row,) = rows(folder / f"tables/Dataset313_KaggleLung_{kind}_table_2.csv")
        assert row["paper_iou"] == "0.7279"


def test_command_line_asks_for_what_it_was_made_of(tmp_path: Path) -> None:
    """The page and `reproduce --dry_run` print it; what reads it gets the same request."""
    setup = Setup("T", "P", "2d")
    request = ReportRequest(
        tmp_path / "a b",
        ["312"],
        ModelFilter(["T"], ["P"], ["2d"], (setup,), ["0", "all"]),
        {str(setup): tmp_path / "p"},
        tmp_path / "gt",
        "T__P__2d",
        2.5,
        3,
        overwrite=True,
        trust=True,
    )
    for each in (request, ReportRequest()):
        assert read_request(parse(shlex.split(each.command())[1:])) == each


def test_no_minus_before_a_zero() -> None:
    assert [shown(number, 4) for number in (-1e-9, -0.0, -0.00006)] == ["0.0000", "0.0000", "\u22120.0001"]
    assert shown(-1e-9, 2, signed=True) == "+0.00"
