from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import NnunetFolders
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.model_sharing.model_export import export_pretrained_model
from nnunetv2.model_sharing.model_import import install_model_from_zip_file
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from plans_of_nnunet import DATASET, make_plans
from safetensors.torch import load_model

from nnunet_pyconv import __version__
from nnunet_pyconv.cli import main
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.sharing import install_model, share_model
from nnunet_pyconv.sharing.manifest import MANIFEST
from nnunet_pyconv.trainer_dir import TRAINER_DIR
from nnunet_pyconv.trainers import nnUNetTrainerPyConv, variants

DATASET_JSON = {
    "labels": {"background": 0, "cell": 1},
    "channel_names": {"0": "EM"},
    "file_ending": ".png",
    "numTraining": 24,
}
SUMMARY = {"foreground_mean": {"Dice": 0.8125, "IoU": 0.6875}, "mean": {}, "metric_per_case": [{}, {}, {}]}
Members = dict[str, bytes]


def make_model(folders: NnunetFolders, trainer_class: type[nnUNetTrainer], folds: tuple[int, ...] = (0,)) -> Path:
    """What a training leaves, but the weights are those it starts with."""
    plans = make_plans()
    plans["configurations"]["2d"]["batch_dice"] = True
    preprocessed = folders.preprocessed / DATASET / "nnUNetPlans_2d"
    preprocessed.mkdir(parents=True, exist_ok=True)
    (preprocessed / "case.b2nd").touch()  # nnU-Net looks at its ending
    for fold in folds:
        trainer = trainer_class({**plans, "continue_training": False}, "2d", fold, DATASET_JSON, torch.device("cpu"))
        trainer.initialize()
        trainer.current_epoch = 6 + fold
        folder = Path(trainer.output_folder)
        trainer.save_checkpoint(str(folder / "checkpoint_final.pth"))
        (folder / "validation").mkdir()
        (folder / "validation" / "summary.json").write_text(json.dumps(SUMMARY))
        for name in ("progress.png", "debug.json"):
            (folder / name).write_bytes(b"made by nnU-Net")
    for name, content in (("plans", plans), ("dataset", DATASET_JSON), ("dataset_fingerprint", {})):
        (folder.parent / f"{name}.json").write_text(json.dumps(content))
    return folder.parent


@pytest.fixture(scope="module")
def model(module_folders: NnunetFolders) -> Path:
    return make_model(module_folders, nnUNetTrainerPyConv)


@pytest.fixture(scope="module")
def package(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return share_model(model, tmp_path_factory.mktemp("shared") / "model.zip").file


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The nnUNet_results of whoever installs, who has neither data nor preprocessed data."""
    results = tmp_path / "elsewhere"
    results.mkdir()
    monkeypatch.setenv("nnUNet_results", str(results))
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_extTrainer"):
        monkeypatch.delenv(name, raising=False)
    return results


def predictor_of(folder: Path) -> nnUNetPredictor:
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), None)
    return predictor


def logits(folder: Path) -> torch.Tensor:
    image = torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    prediction: torch.Tensor = predictor_of(folder).predict_logits_from_preprocessed_data(image)
    return prediction


def read(package: Path) -> Members:
    with zipfile.ZipFile(package) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def manifest_of(members: Members) -> tuple[str, dict[str, Any]]:
    (name,) = (name for name in members if name.endswith(MANIFEST))
    return name, json.loads(members[name])


def test_installed_elsewhere_it_predicts_the_same(
    model: Path, package: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["install", str(package)])
    out = capsys.readouterr().out
    installed = elsewhere / DATASET / model.name
    assert "executes code" in out
    assert (
        'nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)" nnUNetv2_predict -d Dataset312_ISBICell '
        "-tr nnUNetTrainerPyConv -p nnUNetPlans -c 2d -f 0 -chk checkpoint_final.pth -i IMAGES -o PREDICTIONS"
    ) in out
    assert not [path for path in installed.parent.iterdir() if path != installed]
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))
    expected = logits(model)
    assert expected.std() > 0
    assert torch.equal(logits(installed), expected)


def test_nnunets_own_install_and_the_shim(
    model: Path, package: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_model_from_zip_file(str(package))
    installed = elsewhere / DATASET / model.name
    monkeypatch.setenv("nnUNet_extTrainer", str(installed / "trainer"))
    assert any("PyConv2d" in type(module).__name__ for module in predictor_of(installed).network.modules())


def test_members(model: Path, package: Path, module_folders: NnunetFolders, tmp_path: Path) -> None:
    members = read(package)
    name, manifest = manifest_of(members)
    of_nnunet = tmp_path / "nnunet.zip"
    export_pretrained_model(DATASET, str(of_nnunet), ("2d",), "nnUNetTrainerPyConv", folds=(0,))
    assert {path: members[path] for path in read(of_nnunet)} == read(of_nnunet)
    folder = name.rpartition("/")[0]
    ours = {"MODEL_CARD.md", MANIFEST, "trainer/shared_trainer.py", "fold_0/checkpoint_final.safetensors"}
    assert members.keys() - read(of_nnunet).keys() == {f"{folder}/{member}" for member in ours}
    assert manifest["sha256"] == {
        path.removeprefix(f"{folder}/"): hashlib.sha256(content).hexdigest()
        for path, content in members.items()
        if path != name
    }
    assert manifest["trainer"]["module"].startswith("nnunet_pyconv.trainers")
    assert manifest["requires"][0] == f"nnunet-pyconv>={__version__}"
    assert manifest["versions"]["torch"] == importlib.metadata.version("torch")


def test_safetensors_hold_the_weights(
    model: Path, package: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install_model(package).folder
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))
    network = predictor_of(model).network
    expected = {name: value.clone() for name, value in network.state_dict().items()}
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    load_model(network, str(folder / "fold_0" / "checkpoint_final.safetensors"))
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_model_card(model: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = next(content for name, content in read(package).items() if name.endswith("MODEL_CARD.md")).decode()
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))
    parameters = sum(parameter.numel() for parameter in predictor_of(model).network.parameters())
    assert "Labels: background (0), cell (1)" in card
    assert f"{parameters:,} parameters" in card
    assert "fold 0: 7" in card  # nnU-Net saves the number of the next epoch
    assert "| 0 | 3 | 0.8125 | 0.6875 |" in card
    assert "*To be filled in. The licence" in card

    report = tmp_path / "report"
    (report / "tables").mkdir(parents=True)
    (report / "tables" / f"{DATASET}_validation_table_2.md").write_text("## Table 2\n\n| HD95 |\n")
    (report / "tables" / "Dataset999_Other_validation_table_2.md").write_text("## Other\n")
    with_report = share_model(model, tmp_path / "with_report.zip", report=report).file
    card = next(content for name, content in read(with_report).items() if name.endswith("MODEL_CARD.md")).decode()
    assert "### Table 2\n\n| HD95 |" in card
    assert "Other" not in card


def test_a_card_in_the_folder_is_taken(module_folders: NnunetFolders, tmp_path: Path) -> None:
    variant = make_model(module_folders, variants.nnUNetTrainerPyConv_5epochs, folds=(0, 1))
    (variant / "MODEL_CARD.md").write_text("CC BY 4.0")
    shared = share_model(variant, tmp_path / "model.zip", folds=["1"])
    members = read(shared.file)
    folder = f"{DATASET}/{variant.name}"
    assert members[f"{folder}/MODEL_CARD.md"] == b"CC BY 4.0"
    assert b"variants import nnUNetTrainerPyConv_5epochs\n" in members[f"{folder}/trainer/shared_trainer.py"]
    assert not [name for name in members if "fold_0" in name]
    assert share_model(variant, tmp_path / "both.zip").manifest.folds == ("0", "1")
    with pytest.raises(InputError, match="--report would change nothing"):
        share_model(variant, tmp_path / "other.zip", report=tmp_path)


def test_stock_trainer_needs_no_shim(module_folders: NnunetFolders, tmp_path: Path) -> None:
    shared = share_model(make_model(module_folders, nnUNetTrainer), tmp_path / "model.zip")
    assert shared.manifest.predict_command.startswith("nnUNetv2_predict ")
    assert not [name for name in read(shared.file) if "/trainer/" in name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": ["0", "3"]}, "of folds 0, and -f asks for 0, 3"),
        ({"checkpoint": "checkpoint_best.pth"}, "checkpoint_best.pth of no fold"),
        ({"checkpoint": "../x.pth"}, "expected the name of a file"),
        ({"folder": Path("nowhere")}, "no folder of a trained model"),
        ({"report": Path("nowhere")}, "has no tables/Dataset312"),
        ({"output": "there.zip"}, "there.zip is there already; replace it with --overwrite"),
        ({"output": "."}, "is there already; choose a file"),
        ({"output": "there.zip/model.zip"}, "can't write .*model.zip: .*; make room, or choose another place"),
    ],
    ids=["fold", "checkpoint", "checkpoint-elsewhere", "folder", "report", "output", "output-folder", "below-a-file"],
)
def test_nothing_shared(arguments: dict[str, Any], message: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "there.zip").write_text("mine")
    given = {"folder": model, "output": "model.zip", **arguments}
    with pytest.raises(InputError, match=message):
        share_model(given.pop("folder"), tmp_path / given.pop("output"), **given)
    assert [path.name for path in tmp_path.iterdir()] == ["there.zip"]
    assert (tmp_path / "there.zip").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainer_name": "nnUNetTrainerMine"}, "nnUNetTrainerMine, which is neither in nnU-Net nor in nnunet-pyconv"),
        ({"trainer_name": "nnUNetTrainer"}, "does not fit the network that nnUNetTrainer makes"),
        (None, "is no checkpoint of nnU-Net"),
    ],
    ids=["foreign-trainer", "other-network", "truncated"],
)
def test_unusable_checkpoint(change: dict[str, str] | None, message: str, model: Path, tmp_path: Path) -> None:
    copy = tmp_path / DATASET / model.name
    shutil.copytree(model, copy)
    file = copy / "fold_0" / "checkpoint_final.pth"
    if change is None:
        os.truncate(file, file.stat().st_size // 2)
    else:
        torch.save({**torch.load(file, weights_only=False), **change}, file)
    with pytest.raises(InputError, match=message):
        share_model(copy, tmp_path / "model.zip")
    assert [path.name for path in tmp_path.iterdir()] == [DATASET]


def rewrite(package: Path, target: Path, change: Callable[[Members], None], links: bool = False) -> Path:
    members = read(package)
    change(members)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK if links and name.endswith("plans.json") else stat.S_IFREG) << 16
            archive.writestr(info, content)
    return target


def replaced(**values: Any) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        name, manifest = manifest_of(members)
        members[name] = json.dumps({**manifest, **values}).encode()

    return change


def lose(suffix: str) -> Callable[[Members], None]:
    return lambda members: members.pop(next(name for name in members if name.endswith(suffix))) and None


def add(name: str) -> Callable[[Members], None]:
    return lambda members: members.update({name: b"x"})


MODEL = f"{DATASET}/nnUNetTrainerPyConv__nnUNetPlans__2d"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add(f"{MODEL}/plans.json"), r"plans.json was changed or damaged: its SHA-256 is 2d711642"),
        (lose("/plans.json"), r"the package lacks Dataset312_ISBICell/.*/plans.json;"),
        (lose(MANIFEST), "the package has 0 files nnunet_pyconv_manifest.json"),
        (add(f"{MODEL}/extra.py"), r"the package has unlisted .*/extra.py;"),
        (add("../x"), r"has a member '\.\./x'"),
        (add(f"{MODEL}/../../x"), r"has a member '.*/\.\./\.\./x'"),
        (add("/tmp/x"), "has a member '/tmp/x'"),
        (add("C:/x"), "has a member 'C:/x'"),
        (add("..\\x"), "has a member"),
        (replaced(requires=["nnunet-pyconv>=99"]), f"needs nnunet-pyconv>=99, and nnunet-pyconv {__version__} is"),
        (replaced(requires=["nnunetv2>=99"]), "needs nnunetv2>=99, and nnunetv2 2"),
        (replaced(requires=["no-such-plugin"]), "no-such-plugin is not installed; first: pip install 'no-such-plugin'"),
        (replaced(format=2), "has format 2 and this nnunet-pyconv reads 1"),
        (replaced(model="Dataset001_Other/a__b__c"), "is of Dataset001_Other/a__b__c; expected the same folder"),
        (replaced(checkpoint="x; rm -rf ~"), "'x; rm -rf ~' is no plain name"),
        (replaced(folds=None), "is damaged"),
    ],
    ids=[
        "corrupted",
        "missing",
        "no-manifest",
        "extra",
        "traversal",
        "inner-traversal",
        "absolute",
        "drive",
        "backslash",
        "newer-plugin",
        "newer-nnunet",
        "absent-plugin",
        "format",
        "other-model",
        "shell",
        "damaged-manifest",
    ],
)
def test_refused(
    change: Callable[[Members], None], message: str, package: Path, elsewhere: Path, tmp_path: Path
) -> None:
    bad = rewrite(package, tmp_path / "bad.zip", change)
    with pytest.raises(InputError, match=message):
        install_model(bad)
    assert not list(elsewhere.iterdir())
    assert not Path("/tmp/x").exists()


def test_link_refused(package: Path, elsewhere: Path, tmp_path: Path) -> None:
    bad = rewrite(package, tmp_path / "bad.zip", lambda members: None, links=True)
    with pytest.raises(InputError, match=r"plans.json' is a link"):
        install_model(bad)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("kind", ["truncated", "absent", "flipped"])
def test_no_zip(kind: str, package: Path, elsewhere: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.zip"
    content = bytearray(package.read_bytes())
    if kind == "flipped":
        content[len(content) // 3] ^= 0xFF
    if kind != "absent":
        file.write_bytes(content[: len(content) // 2] if kind == "truncated" else content)
    with pytest.raises(InputError, match="there is no file" if kind == "absent" else "damaged"):
        install_model(file)
    assert not list(elsewhere.iterdir())


def test_existing_model(package: Path, elsewhere: Path) -> None:
    mine = elsewhere / MODEL / "fold_4" / "mine"
    mine.parent.mkdir(parents=True)
    mine.touch()
    with pytest.raises(InputError, match="is there already; replace it, with all its folds, with --overwrite"):
        install_model(package)
    assert mine.exists()
    assert install_model(package, overwrite=True).folder == elsewhere / MODEL
    assert not mine.exists()
    assert (elsewhere / MODEL / "fold_0" / "checkpoint_final.pth").is_file()


@pytest.mark.parametrize("value", [None, "nowhere"])
def test_results_folder_needed(
    value: str | None, package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if value is None:
        monkeypatch.delenv("nnUNet_results", raising=False)
    else:
        monkeypatch.setenv("nnUNet_results", value)
    with pytest.raises(SystemExit) as ended:
        main(["install", str(package)])
    assert ended.value.code == 2
    assert "error: nnUNet_results is " in capsys.readouterr().err


def test_share_command(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "model.zip"
    for _ in range(2):
        main(["share", str(model), "-o", str(output), "-f", "0", "--overwrite"])
    assert f"Wrote {output}: {MODEL}, folds 0" in capsys.readouterr().out
    assert [path.name for path in output.parent.iterdir()] == ["model.zip"]


def test_no_room(package: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1))
    with pytest.raises(InputError, match=r"takes 0\.\d\d GB and .* has 0\.00 GB left"):
        install_model(package)
    assert not list(elsewhere.iterdir())
