"""Finding models and their cases in nnU-Net's folders, and what is wrong with them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import NnunetFolders
from results_folders import MadeDataset, logged, square

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.comparison import find_baselines, short_names
from nnunet_pyconv.evaluation.dataset import RawDataset, find_dataset
from nnunet_pyconv.evaluation.models import (
    Model,
    ModelFilter,
    datasets_with_results,
    find_predicted,
    find_trained,
)
from nnunet_pyconv.evaluation.planned_model import PlannedModel
from nnunet_pyconv.evaluation.reading import read_probabilities, read_truth_and_prediction
from nnunet_pyconv.evaluation.training_log import read_training_log
from nnunet_pyconv.nnunet_folders import Setup

NAME = "Dataset007_Blob"
STOCK, OURS = "nnUNetTrainer__nnUNetPlans__2d", "nnUNetTrainerPyConv__nnUNetPlans__2d"


@pytest.fixture
def made(nnunet_folders: NnunetFolders) -> MadeDataset:
    truth = {f"case_{index}": square(8, 1, 5, 1, 5) for index in range(4)}
    made = MadeDataset(nnunet_folders, NAME, truth)
    for key in (STOCK, OURS):
        made.model(key, truth)
    return made


def test_models_and_cases(made: MadeDataset) -> None:
    (made.results / "ensembles").mkdir()
    assert datasets_with_results(ModelFilter()) == [NAME]
    assert datasets_with_results(ModelFilter(plans=["others"])) == []
    models = find_trained(find_dataset("7"), ModelFilter())
    assert [model.name for model in models] == [OURS, STOCK]
    assert [files.case for files in models[0].cases] == [f"case_{index}" for index in range(4)]
    assert models[0].folds == ("0",)
    assert models[0].planned.network_class.endswith(".PlainConvUNet")


@pytest.mark.parametrize(
    ("choice", "keys"),
    [
        (ModelFilter(trainers=["nnUNetTrainerPyConv"]), [OURS]),
        (ModelFilter(configurations=["3d_fullres"]), []),
        (ModelFilter(plans=["nnUNetPlans"], folds=["0"]), [OURS, STOCK]),
    ],
    ids=["trainer", "configuration", "plans and fold"],
)
def test_choice(made: MadeDataset, choice: ModelFilter, keys: list[str]) -> None:
    assert [model.name for model in find_trained(find_dataset("7"), choice)] == keys


def test_hidden_folders_are_no_results(made: MadeDataset) -> None:
    """What a killed install or a file manager leaves beside the models."""
    before = [model.name for model in find_trained(find_dataset("7"), ModelFilter())]
    for name in (".nnUNetTrainer__nnUNetPlans__2d.nnunet_pyconv", ".nnUNetTrainer__nnUNetPlans__2d-a1b2"):
        (made.results / name / "fold_0").mkdir(parents=True)
    assert [model.name for model in find_trained(find_dataset("7"), ModelFilter())] == before


def test_folds_together(made: MadeDataset) -> None:
    made.split([["case_0", "case_1"], ["case_2", "case_3"]])
    truth = dict(made.truth)
    for key in (STOCK, OURS):
        shutil.rmtree(made.results / key)
        made.model(key, {case: truth[case] for case in ("case_0", "case_1")}, fold="0")
        made.model(key, {case: truth[case] for case in ("case_2", "case_3")}, fold="1")
    first, _ = find_trained(find_dataset("7"), ModelFilter())
    assert first.folds == ("0", "1")
    assert [files.prediction.parent.parent.name for files in first.cases] == ["fold_0"] * 2 + ["fold_1"] * 2


def test_without_a_split_the_summary_counts(made: MadeDataset) -> None:
    shutil.rmtree(made.folders.preprocessed / NAME)
    assert len(find_trained(find_dataset("7"), ModelFilter())[0].cases) == 4


def break_prediction(made: MadeDataset) -> None:
    for case in ("case_1", "case_3"):
        (made.results / OURS / "fold_0/validation" / f"{case}.png").unlink()


def break_summary(made: MadeDataset) -> None:
    (made.results / OURS / "fold_0/validation/summary.json").unlink()


def break_other_split(made: MadeDataset) -> None:
    made.split([list(made.truth), ["case_0"]])
    made.model(OURS, {"case_0": made.truth["case_0"]}, fold="1")
    shutil.rmtree(made.results / OURS / "fold_0")


def break_two_folds(made: MadeDataset) -> None:
    made.model(OURS, made.truth, fold="all")


def break_no_fold(made: MadeDataset) -> None:
    shutil.rmtree(made.results / OURS / "fold_0")


def break_truth(made: MadeDataset) -> None:
    (made.raw / "labelsTr/case_2.png").unlink()


def break_training_again(made: MadeDataset) -> None:
    folder = made.results / OURS / "fold_0"
    (folder / "checkpoint_final.pth").rename(folder / "checkpoint_latest.pth")


def break_split(made: MadeDataset) -> None:
    (made.folders.preprocessed / NAME / "splits_final.json").write_text("[")


def break_split_without_validation(made: MadeDataset) -> None:
    (made.folders.preprocessed / NAME / "splits_final.json").write_text('[{"train": []}]')


def break_split_of_numbers(made: MadeDataset) -> None:
    (made.folders.preprocessed / NAME / "splits_final.json").write_text('[{"train": [], "val": [1, 2]}]')


def break_no_cases(made: MadeDataset) -> None:
    made.split([[]])
    made.summarise(made.results / OURS / "fold_0/validation", {})


def break_plans(made: MadeDataset) -> None:
    (made.results / OURS / "plans.json").write_text("{")


def break_plans_of_another(made: MadeDataset) -> None:
    (made.results / OURS / "plans.json").write_text('{"a": 1}')


def break_garbage(made: MadeDataset) -> None:
    shutil.rmtree(made.folders.preprocessed / NAME)
    (made.results / STOCK / "fold_0/validation/summary.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_prediction, r"lacks 2 predictions \(\*.png\): case_1, case_3"),
        (break_summary, r"half-finished.*nnUNetv2_train 7 2d 0 -tr nnUNetTrainerPyConv -p nnUNetPlans --c"),
        (break_other_split, r"nnUNetTrainerPyConv__nnUNetPlans__2d \(folds 1: 1 cases\).*\(folds 0: 4 cases\).*-f"),
        (break_two_folds, r"validates case_0 in fold all and in another of folds 0, all"),
        (break_no_fold, r"has no fold_X"),
        (break_truth, r"case_2.png, the truth of .*does not exist"),
        (break_training_again, r"half-finished: it has no checkpoint_final.pth"),
        (break_split, r"splits_final.json is not a splits_final.json of nnU-Net .*write it again"),
        (break_split_without_validation, r"splits_final.json is not a splits_final.json of nnU-Net \(KeyError"),
        (break_split_of_numbers, r"splits_final.json is not a splits_final.json of nnU-Net \(TypeError"),
        (break_no_cases, r"summary.json has no case"),
        (break_plans, r"plans.json are no plans of nnU-Net \(JSONDecodeError"),
        (break_plans_of_another, r"plans.json are no plans of nnU-Net \(KeyError"),
        (break_garbage, r"summary.json is not a summary.json of nnU-Net"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_compared(made: MadeDataset, damage: object, message: str) -> None:
    damage(made)
    with pytest.raises(InputError, match=message):
        find_trained(find_dataset("7"), ModelFilter())


def test_plans_that_name_no_network(made: MadeDataset) -> None:
    for plans in ('{"configurations": {"2d": {"inherits_from": "2d"}}}', '{"configurations": {}}'):
        (made.results / OURS / "plans.json").write_text(plans)
        assert find_trained(find_dataset("7"), ModelFilter())[0].planned.network_class == ""


def test_fold_that_is_not_there(made: MadeDataset) -> None:
    with pytest.raises(InputError, match=r"has no fold_3; train it"):
        find_trained(find_dataset("7"), ModelFilter(folds=["3"]))


def test_files_that_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's `dataset.json` may list files anywhere, with variables in their paths."""
    monkeypatch.setenv("DATA", str(tmp_path))
    (tmp_path / "i.png").touch()
    listed = {"a": {"images": ["$DATA/i.png"], "label": "../labels/l.png"}}
    content = {"labels": {"background": 0, "cell": 1}, "file_ending": ".png", "dataset": listed}
    dataset = RawDataset(tmp_path / "Dataset007_Blob", content)
    assert dataset.image("a", test=False) == tmp_path / "i.png"
    assert dataset.training_truth("a") == tmp_path / "Dataset007_Blob/../labels/l.png"
    assert dataset.image("b", test=True) is None


def test_image_of_a_test_case_with_the_name_of_a_training_case(tmp_path: Path) -> None:
    dataset = RawDataset(tmp_path, {"labels": {"background": 0, "cell": 1}, "file_ending": ".png"})
    for folder in ("imagesTr", "imagesTs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a_0000.png").touch()
    assert dataset.image("a", test=False) == tmp_path / "imagesTr/a_0000.png"
    assert dataset.image("a", test=True) == tmp_path / "imagesTs/a_0000.png"


@pytest.mark.parametrize(
    ("ending", "files", "unit"),
    [(".png", ["a.png"], "px"), (".tif", ["a.tif"], "px"), (".tif", ["a.tif", "a.json"], "mm")],
)
def test_unit_of_distances(ending: str, files: list[str], unit: str, tmp_path: Path) -> None:
    """A TIFF volume's spacing is in a file beside it; without that nnU-Net takes 1, which is a pixel."""
    reader = "NaturalImage2DIO" if ending == ".png" else "Tiff3DIO"
    dataset = RawDataset(tmp_path, {"file_ending": ending, "overwrite_image_reader_writer": reader})
    for name in files:
        (tmp_path / name).touch()
    assert dataset.unit(tmp_path / files[0]) == unit


@pytest.mark.parametrize(
    ("dataset", "message"), [("8", "dataset '8' not found"), ("Dataset009_None", "dataset.json does not exist")]
)
def test_dataset_that_is_not_there(made: MadeDataset, dataset: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_dataset(dataset)


def test_given_predictions(made: MadeDataset, tmp_path: Path) -> None:
    made.write(tmp_path / "predictions/a.png", square(8, 1, 5, 1, 5))
    made.write(made.raw / "labelsTs/a.png", square(8, 1, 5, 1, 5))
    name = "T__P__2d_unet/fold_3"
    (of_fold,) = find_predicted(find_dataset("7"), {name: tmp_path / "predictions"}, None)
    assert (of_fold.name, of_fold.setup, of_fold.predicted_by) == (name, Setup("T", "P", "2d_unet"), "3")
    (model,) = find_predicted(find_dataset("7"), {"mine": tmp_path / "predictions"}, None)
    assert (model.name, model.folds, [files.case for files in model.cases]) == ("mine", (), ["a"])
    made.write(made.raw / "labelsTs/b.png", square(8, 1, 5, 1, 5))
    with pytest.raises(InputError, match=r"lacks 1 prediction \(\*.png\): b\."):
        find_predicted(find_dataset("7"), {"mine": tmp_path / "predictions"}, None)
    with pytest.raises(InputError, match=r"mine=.*no such folder"):
        find_predicted(find_dataset("7"), {"mine": tmp_path / "nowhere"}, None)
    with pytest.raises(InputError, match=r"holds no label \*.png.*-gt"):
        find_predicted(find_dataset("7"), {"mine": tmp_path / "predictions"}, tmp_path)


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (square(9, 1, 5, 1, 5), r"has 9 x 9 pixels and its truth .* 8 x 8"),
        (square(8, 1, 5, 1, 5) * 255, r"has labels 255 that Dataset007_Blob doesn't have; expected 0, 1.*0 and 255"),
        (square(8, 1, 5, 1, 5) * 3, r"has labels 3 that Dataset007_Blob doesn't have"),
    ],
    ids=["size", "0 and 255", "label"],
)
def test_prediction_that_does_not_fit(made: MadeDataset, prediction: np.ndarray, message: str) -> None:
    files = find_trained(find_dataset("7"), ModelFilter())[0].cases[0]
    made.write(files.prediction, prediction)
    with pytest.raises(InputError, match=message):
        read_truth_and_prediction(find_dataset("7"), files)


def test_prediction_that_is_no_image(made: MadeDataset, capsys: pytest.CaptureFixture[str]) -> None:
    files = find_trained(find_dataset("7"), ModelFilter())[0].cases[0]
    files.prediction.write_bytes(files.prediction.read_bytes()[:50])
    with pytest.raises(InputError, match=r"can't read .*case_0.png \(.*truncated"):
        read_truth_and_prediction(find_dataset("7"), files)
    assert "Traceback" not in capsys.readouterr().err


def test_prediction_in_colour(made: MadeDataset) -> None:
    files = find_trained(find_dataset("7"), ModelFilter())[0].cases[0]
    labels = square(8, 1, 5, 1, 5)
    made.write(files.prediction, np.stack([labels] * 3, axis=-1))
    assert (read_truth_and_prediction(find_dataset("7"), files)[1] == labels).all()
    made.write(files.prediction, np.stack([labels, labels, 1 - labels], axis=-1))
    with pytest.raises(InputError, match=r"case_0.png has 3 channels that differ; expected one, of labels"):
        read_truth_and_prediction(find_dataset("7"), files)


def test_probabilities(made: MadeDataset) -> None:
    file = made.results / OURS / "fold_0/validation/case_0.npz"
    np.savez_compressed(file, probabilities=np.full((2, 1, 8, 8), 0.5, np.float32))
    files = find_trained(find_dataset("7"), ModelFilter())[0].cases[0]
    dataset = find_dataset("7")
    assert read_probabilities(dataset, files, (8, 8)).shape == (2, 8, 8)
    with pytest.raises(InputError, match=r"shape \(2, 1, 8, 8\); expected \(2, 1, 9, 8\)"):
        read_probabilities(dataset, files, (9, 8))
    np.savez_compressed(file, probabilities=np.zeros((3, 1, 8, 8), np.float32))
    with pytest.raises(InputError, match=r"shape \(3, 1, 8, 8\); expected \(2, 1, 8, 8\)"):
        read_probabilities(dataset, files, (8, 8))
    for value in (7, np.nan):
        np.savez_compressed(file, probabilities=np.full((2, 1, 8, 8), value, np.float32))
        with pytest.raises(InputError, match="values that are no probabilities"):
            read_probabilities(dataset, files, (8, 8))
    file.write_bytes(b"PK")
    with pytest.raises(InputError, match=r"can't read .*case_0.npz"):
        read_probabilities(dataset, files, (8, 8))


def test_training_log(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint_final.pth"
    torch.save({"logging": logged([1, 0.5], [[0.5, 1.0], [np.nan, 0.8]])}, file)
    log = read_training_log(file)
    assert log.train_loss == (1, 0.5)
    assert log.dice == pytest.approx((0.75, 0.8))
    assert log.iou == pytest.approx(((1 / 3 + 1) / 2, 2 / 3))  # of each class, then the mean


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"logging": {"train_losses": [1.0]}},
            r"no val_losses and no dice_per_class_or_region; expected that of nnU-Net",
        ),
        ({"plot_stuff": [[], [], []]}, r"no train_losses and no val_losses"),
        ([1, 2], r"is no checkpoint of nnU-Net's trainers: it holds a list"),
        (
            {"logging": {"train_losses": [1.0, 2.0], "val_losses": [1.0], "dice_per_class_or_region": [[1.0]]}},
            r"lists of several lengths",
        ),
        ({"logging": [1.0]}, r"no train_losses"),
        ({"logging": {"train_losses": [], "val_losses": [], "dice_per_class_or_region": []}}, r"no train_losses"),
        (
            {"logging": {"train_losses": ["a"], "val_losses": [1.0], "dice_per_class_or_region": [[1.0]]}},
            r"could not convert string to float: 'a'; expected that of nnU-Net",
        ),
        (
            {"logging": {"train_losses": [1.0], "val_losses": [1.0], "dice_per_class_or_region": [0.5]}},
            r"not iterable; expected that of nnU-Net",
        ),
        (
            {"logging": {"train_losses": [1.0], "val_losses": [1.0], "dice_per_class_or_region": [[2.0]]}},
            r"a Dice of 2; expected that of nnU-Net",
        ),
    ],
    ids=["fewer keys", "nnU-Net v1", "no dict", "lengths", "list", "no epoch", "text", "no classes", "Dice"],
)
def test_log_of_another_version(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "checkpoint_final.pth")
    with pytest.raises(InputError, match=message):
        read_training_log(tmp_path / "checkpoint_final.pth")


def test_checkpoint_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_final.pth").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(InputError, match="checkpoint_final.pth is damaged or cut off"):
        read_training_log(tmp_path / "checkpoint_final.pth")


def model(name: str, network: str = "") -> Model:
    setup, _, fold = name.partition("/fold_")
    return Model(name, (), Setup.parse(setup), {"0": None}, PlannedModel(network), fold)


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["T__P__2d_unet", "T__P__2d_pyconv_unet"], ["U-Net", "PyConvU-Net"]),
        (["T__P__2d", "S__P__2d"], ["T", "S"]),
        (["T__P__2d", "S__Q__2d"], ["T · P", "S · Q"]),
        (["T__P__2d_unet"], ["U-Net"]),
        (["T__P__2d_unet", "S__P__2d"], ["U-Net · T", "2d · S"]),
        (["T__P__2d", "mine"], ["T__P__2d", "mine"]),
        (["T__P__2d_unet/fold_0", "T__P__2d_unet/fold_1"], ["fold 0", "fold 1"]),
        (["T__P__2d_unet/fold_0", "T__P__2d/fold_1"], ["U-Net · fold 0", "2d · fold 1"]),
    ],
    ids=["networks", "trainers", "trainers and plans", "single", "all but plans", "predictions", "folds", "fold"],
)
def test_names_say_what_differs(keys: list[str], names: list[str]) -> None:
    networks = {"2d_unet": "U-Net", "2d_pyconv_unet": "PyConvU-Net"}
    assert short_names([model(key) for key in keys], networks) == names


@pytest.mark.parametrize(
    ("models", "wanted", "index"),
    [
        ([model(STOCK), model("T__P__2d_unet")], None, 1),
        ([model(OURS), model(STOCK)], None, 1),
        ([model(STOCK, "nnunet_pyconv.architectures.PyConvUNet"), model("nnUNetTrainer_1epoch__P__2d")], None, 1),
        ([model("mine"), model("other")], None, 0),
        ([model(STOCK), model("T__P__2d_unet")], STOCK, 0),
    ],
    ids=["2d_unet", "stock trainer", "stock network", "first", "wanted"],
)
def test_baseline(models: list[Model], wanted: str | None, index: int) -> None:
    assert find_baselines([models], {}, wanted)[0].index == index


def test_baseline_of_one_set_leaves_the_other_its_own() -> None:
    sets = [[model(OURS), model(STOCK)], [model("mine"), model("other")]]
    assert [each.index for each in find_baselines(sets, {}, "other")] == [1, 1]
    assert [each.index for each in find_baselines(sets, {}, OURS)] == [0, 0]


def test_baseline_that_is_not_there() -> None:
    with pytest.raises(InputError, match=re.escape(f"--baseline nix: no such model; there are {STOCK}")):
        find_baselines([[model(STOCK)]], {}, "nix")
