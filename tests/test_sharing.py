from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import NnunetFolders
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.model_sharing.model_export import export_pretrained_model
from nnunetv2.model_sharing.model_import import install_model_from_zip_file
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from packages import MODEL, Evil, make_model, manifest_of, read_package
from plans_of_nnunet import DATASET
from safetensors.torch import load_model

from nnunet_pyconv import __version__
from nnunet_pyconv.checkpoints import load_checkpoint
from nnunet_pyconv.cli import main
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.inference_network import build_inference_network
from nnunet_pyconv.sharing import install_model, share_model
from nnunet_pyconv.sharing.archive import MAX_SUMMARY
from nnunet_pyconv.sharing.manifest import MANIFEST, parse_manifest
from nnunet_pyconv.sharing.model_folder import open_model
from nnunet_pyconv.trainer_dir import TRAINER_DIR
from nnunet_pyconv.trainers import nnUNetTrainerPyConvDilated, nnUNetTrainerPyConvSeparable, variants


def predictor_of(folder: Path) -> nnUNetPredictor:
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), None)
    return predictor


def logits(folder: Path) -> torch.Tensor:
    image = torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    prediction: torch.Tensor = predictor_of(folder).predict_logits_from_preprocessed_data(image)
    return prediction


def test_installed_elsewhere_it_predicts_the_same(
    model: Path, package: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["install", str(package)])
    out = capsys.readouterr().out
    installed = elsewhere / DATASET / model.name
    assert "written anew, free of code" in out
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
    members = read_package(package)
    name, manifest = manifest_of(members)
    of_nnunet = tmp_path / "nnunet.zip"
    export_pretrained_model(DATASET, str(of_nnunet), ("2d",), "nnUNetTrainerPyConv", folds=(0,))
    assert {path: members[path] for path in read_package(of_nnunet)} == read_package(of_nnunet)
    folder = name.rpartition("/")[0]
    ours = {"MODEL_CARD.md", MANIFEST, "trainer/shared_trainer.py", "fold_0/checkpoint_final.safetensors"}
    assert members.keys() - read_package(of_nnunet).keys() == {f"{folder}/{member}" for member in ours}
    assert manifest["sha256"] == {
        path.removeprefix(f"{folder}/"): hashlib.sha256(content).hexdigest()
        for path, content in members.items()
        if path != name
    }
    assert manifest["trainer_module"].startswith("nnunet_pyconv.trainers")
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
    card = next(content for name, content in read_package(package).items() if name.endswith("MODEL_CARD.md")).decode()
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
    card = next(
        content for name, content in read_package(with_report).items() if name.endswith("MODEL_CARD.md")
    ).decode()
    assert "### Table 2\n\n| HD95 |" in card
    assert "Other" not in card


def test_a_card_in_the_folder_is_taken(module_folders: NnunetFolders, tmp_path: Path) -> None:
    variant = make_model(module_folders, variants.nnUNetTrainerPyConv_5epochs, folds=(0, 1))
    (variant / "MODEL_CARD.md").write_text("CC BY 4.0")
    shared = share_model(variant, tmp_path / "model.zip", folds=["1"])
    members = read_package(shared.file)
    folder = f"{DATASET}/{variant.name}"
    assert members[f"{folder}/MODEL_CARD.md"] == b"CC BY 4.0"
    assert b"variants import nnUNetTrainerPyConv_5epochs\n" in members[f"{folder}/trainer/shared_trainer.py"]
    assert not [name for name in members if "fold_0" in name]
    assert share_model(variant, tmp_path / "both.zip").manifest.folds == ("0", "1")
    shutil.copytree(variant / "fold_0", variant / "fold_all")
    shutil.copytree(variant / "fold_0", variant / "fold_10")
    try:
        # as nnU-Net's prediction takes them
        assert open_model(variant, None, "checkpoint_final.pth").folds == ("0", "1", "10")
        assert open_model(variant, ["10", "all", "1"], "checkpoint_final.pth").folds == ("1", "10", "all")
    finally:
        for fold in ("all", "10"):
            shutil.rmtree(variant / f"fold_{fold}")
    with pytest.raises(InputError, match="--report would change nothing"):
        share_model(variant, tmp_path / "other.zip", report=tmp_path)


def test_stock_trainer_needs_no_shim(module_folders: NnunetFolders, tmp_path: Path) -> None:
    shared = share_model(make_model(module_folders, nnUNetTrainer), tmp_path / "model.zip")
    assert shared.manifest.predict_command(after_a_stage=False).startswith("nnUNetv2_predict ")
    assert not [name for name in read_package(shared.file) if "/trainer/" in name]


@pytest.mark.parametrize("trainer", [nnUNetTrainerPyConvDilated, nnUNetTrainerPyConvSeparable])
def test_models_of_every_block(
    trainer: type[nnUNetTrainer], module_folders: NnunetFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))
    model = make_model(module_folders, trainer)
    file = share_model(model, tmp_path / "model.zip").file
    expected = logits(model)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "elsewhere"))
    install_model(file)
    assert torch.equal(logits(tmp_path / "elsewhere" / DATASET / model.name), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": ["0", "3"]}, "of folds 0, and -f asks for 0, 3"),
        ({"checkpoint": "checkpoint_best.pth"}, "checkpoint_best.pth of no fold"),
        ({"checkpoint": "../x.pth"}, "expected the name of a file"),
        ({"folder": Path("nowhere")}, "nowhere is not there; give"),
        ({"report": Path("nowhere")}, "has no tables/Dataset312"),
        ({"output": "there.zip"}, "there.zip exists already; replace it with --overwrite"),
        ({"output": "."}, "exists already and is no file"),
        ({"output": "there.zip/model.zip"}, "can't write .*there.zip is no folder"),
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
        ({"trainer_name": "nnUNetTrainer"}, "of fold 0 is of 'nnUNetTrainer', '2d', '0'; expected that of"),
        ({"network_weights": {}}, "does not fit the network that nnUNetTrainerPyConv makes"),
        (None, "is damaged or cut off"),
    ],
    ids=["foreign-trainer", "other-trainer", "other-network", "truncated"],
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


def test_existing_model(package: Path, elsewhere: Path) -> None:
    mine = elsewhere / MODEL / "fold_4" / "mine"
    mine.parent.mkdir(parents=True)
    mine.touch()
    with pytest.raises(InputError, match="exists already; replace it with --overwrite"):
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
    assert "nnUNet_results is" in capsys.readouterr().err


def test_share_command(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "model.zip"
    for _ in range(2):
        main(["share", str(model), "-o", str(output), "-f", "0", "--overwrite"])
    assert f"Wrote {output}: {MODEL}, folds 0" in capsys.readouterr().out
    assert [path.name for path in output.parent.iterdir()] == ["model.zip"]


def test_network_of_an_old_trainer(model: Path) -> None:
    """nnU-Net takes a trainer whose method for the network has the arguments of earlier versions."""

    class Old(nnUNetTrainer):
        @staticmethod
        def build_network_architecture(  # type: ignore[override]
            architecture_class_name: str,
            arch_init_kwargs: dict[str, Any],
            arch_init_kwargs_req_import: list[str],
            num_input_channels: int,
            num_output_channels: int,
            enable_deep_supervision: bool = True,
        ) -> torch.nn.Module:
            network: torch.nn.Module = get_network_from_plans(
                architecture_class_name,
                arch_init_kwargs,
                arch_init_kwargs_req_import,
                num_input_channels,
                num_output_channels,
                deep_supervision=enable_deep_supervision,
            )
            return network

    opened = open_model(model, None, "checkpoint_final.pth")
    arguments = (opened.plans, opened.configuration_manager, opened.dataset_json)
    old, new = (build_inference_network(trainer, *arguments) for trainer in (Old, nnUNetTrainer))
    assert [(name, p.shape) for name, p in old.named_parameters()] == [(n, p.shape) for n, p in new.named_parameters()]
    assert not old.decoder.deep_supervision


@pytest.mark.parametrize(("size", "is_taken"), [(100_001, True), (1_000_001, False)])
def test_summaries_of_large_datasets(
    size: int, is_taken: bool, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_SUMMARY > 60e6  # that of 1228 cases with 117 classes, as a large public dataset has them, is of 52 MB
    monkeypatch.setattr("nnunet_pyconv.sharing.archive.MAX_JSON", 100_000)
    monkeypatch.setattr("nnunet_pyconv.sharing.archive.MAX_SUMMARY", 1_000_000)
    copy = tmp_path / DATASET / model.name
    shutil.copytree(model, copy)
    noise = np.random.default_rng(0).integers(0, 10, size // 16, dtype=np.uint8)
    lists = b",".join(b"[" + bytes(48 + part) + b"]" for part in np.array_split(noise, 1000))
    summary = copy / "crossval_results_folds_0" / "summary.json"
    summary.parent.mkdir(exist_ok=True)
    summary.write_bytes(b'{"metric_per_case": [' + lists + b"]" + b" " * size + b"}")
    if is_taken:
        members = read_package(share_model(copy, tmp_path / "model.zip").file)
        assert any(name.endswith("crossval_results_folds_0/summary.json") for name in members)
    else:
        with pytest.raises(InputError, match=r"summary\.json has .* bytes; expected at most .*Share without it"):
            share_model(copy, tmp_path / "model.zip")


def test_command_of_a_cascades_second_stage(package: Path) -> None:
    _, manifest = manifest_of(read_package(package))
    command = parse_manifest(manifest, manifest["model"]).predict_command(after_a_stage=True)
    assert command.endswith("-i IMAGES -o PREDICTIONS -prev_stage_predictions PREVIOUS")


def test_no_room(package: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1))
    with pytest.raises(InputError, match=r"takes 0\.\d\d GB and .* has 0\.00 GB left"):
        install_model(package)
    assert not list(elsewhere.iterdir())


def test_own_checkpoint_that_needs_trust(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trainer of one's own may keep what it likes in its checkpoints."""
    copy, witness = tmp_path / DATASET / model.name, tmp_path / "witness"
    shutil.copytree(model, copy)
    file = copy / "fold_0" / "checkpoint_final.pth"
    torch.save({**load_checkpoint(file), "mine": Evil(witness)}, file)
    command = ["share", str(copy), "-o", str(tmp_path / "model.zip")]
    with pytest.raises(SystemExit):
        main(command)
    assert "with --trust in this plugin's commands" in capsys.readouterr().err
    assert not witness.exists()
    main([*command, "--trust"])
    assert witness.exists()
