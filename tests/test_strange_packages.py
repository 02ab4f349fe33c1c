"""Packages that a stranger made: refused with one message, or installed without running anything of theirs."""

from __future__ import annotations

import io
import json
import os
import pickle
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation
from packages import (
    MODEL,
    Evil,
    Members,
    forged,
    make_model,
    read_package,
    replaced,
    rewrite,
    with_member,
    without,
)
from plans_of_nnunet import make_plans

from nnunet_pyconv import __version__
from nnunet_pyconv.checkpoints import load_checkpoint
from nnunet_pyconv.cli import main
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.sharing import archive, install_model, share_model
from nnunet_pyconv.sharing.manifest import MANIFEST
from nnunet_pyconv.sharing.names import is_plain, parse_model
from nnunet_pyconv.trainer_dir import TRAINER_DIR

Change = Callable[[Members], object]


def evil_checkpoint(witness: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"network_weights": Evil(witness), "trainer_name": "nnUNetTrainer"}, buffer)
    return buffer.getvalue()


def predictor_of(folder: Path) -> nnUNetPredictor:
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), None)
    return predictor


def test_nothing_of_the_package_is_executed(
    package: Path, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by install nor by nnU-Net, which unpickles what lies there."""
    witness = tmp_path / "witness"
    postprocessing = {
        "postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"] * 2,
        "postprocessing_kwargs": [{"labels_or_regions": 1}, {"labels_or_regions": [1, [1, 2]]}],
    }
    steps = (
        forged("fold_0/checkpoint_final.pth", evil_checkpoint(witness)),
        forged("trainer/shared_trainer.py", f"from pathlib import Path\nPath({str(witness)!r}).touch()\n".encode()),
        forged("crossval_results_folds_0/postprocessing.json", json.dumps(postprocessing).encode()),
        forged("crossval_results_folds_0/postprocessing.pkl", pickle.dumps(Evil(witness))),
    )
    bad = rewrite(package, tmp_path / "bad.zip", lambda members: [step(members) for step in steps])
    folder = install_model(bad).folder
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([str(TRAINER_DIR), str(folder / "trainer")]))
    predictor_of(folder)
    with (folder / "crossval_results_folds_0" / "postprocessing.pkl").open("rb") as file:
        functions, arguments = pickle.load(file)
    assert not witness.exists()
    assert functions == [remove_all_but_largest_component_from_segmentation] * 2
    assert arguments == [{"labels_or_regions": 1}, {"labels_or_regions": [1, (1, 2)]}]


def test_the_checkpoint_that_is_written(package: Path, model: Path, elsewhere: Path, tmp_path: Path) -> None:
    """It has all of the trained one but the state of the optimiser, and can be shared on."""
    installed = install_model(package).folder
    before, after = (load_checkpoint(path / "fold_0" / "checkpoint_final.pth") for path in (model, installed))
    assert before.keys() - after.keys() == {"optimizer_state", "grad_scaler_state"}
    assert before["network_weights"].keys() == after["network_weights"].keys()
    weights = after["network_weights"]
    assert all(torch.equal(weight, weights[name]) for name, weight in before["network_weights"].items())
    for key in ("trainer_name", "current_epoch", "inference_allowed_mirroring_axes", "_best_ema", "logging"):
        assert before[key] == after[key]
    again = share_model(installed, tmp_path / "again.zip").file
    name = f"{MODEL}/fold_0/checkpoint_final.safetensors"
    first, second = (safetensors.torch.load(read_package(file)[name]) for file in (package, again))
    assert first.keys() == second.keys()
    assert all(torch.equal(weight, second[key]) for key, weight in first.items())


def plans_with(**architecture: Any) -> bytes:
    plans = make_plans()
    kwargs = architecture.pop("arch_kwargs", {})
    changed = plans["configurations"]["2d"]["architecture"]
    changed.update(architecture)
    changed["arch_kwargs"].update(kwargs)
    return json.dumps(plans).encode()


SHELL = {"nonlin": "os.system", "nonlin_kwargs": {"command": "touch /tmp/nnunet_pyconv_was_here"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_member(f"{MODEL}/plans.json"), "plans.json was changed or damaged: its SHA-256 is 2d711642"),
        (without("/plans.json"), "the package lacks 'plans.json';"),
        (without("/checkpoint_final.safetensors"), "the package lacks 'fold_0/checkpoint_final.safetensors';"),
        (without(MANIFEST), "the package has 0 files nnunet_pyconv_manifest.json"),
        (with_member(f"{MODEL}/extra.py"), "the package has unlisted 'extra.py';"),
        (forged("extra.py", b""), "the package has members that no model has, 'extra.py';"),
        (with_member("../x"), r"has a member '\.\./x'"),
        (with_member(f"{MODEL}/../../x"), r"has a member '.*/\.\./\.\./x'"),
        (with_member("/tmp/nnunet_pyconv_x"), "has a member '/tmp/nnunet_pyconv_x'"),
        (with_member("C:/x"), "has a member 'C:/x'"),
        (with_member("..\\x"), "has a member"),
        (with_member(f"{MODEL}/-rf"), "has a member"),
        (with_member(f"{MODEL}/plans\u202enosj.exe"), r"has a member '.*plans\\u202enosj.exe'"),
        (with_member(f"{MODEL}/a\x1b[2Jb"), r"has a member '.*a\\x1b\[2Jb'"),
        (replaced(requires=["nnunet-pyconv>=99"]), f"needs nnunet-pyconv>=99, and nnunet-pyconv {__version__} is"),
        (replaced(requires=["nnunetv2>=99"]), r"needs nnunetv2>=99, .*; first: pip install 'nnunetv2>=99'$"),
        (replaced(requires=["nnUNetV2 >= 99 "]), r"first: pip install 'nnunetv2>=99'$"),
        (replaced(requires=["nnunet-pycon"]), "'nnunet-pycon'; expected nnunet-pyconv and nnunetv2 alone"),
        (replaced(requires=["nnunetv2 @ https://example.org/x.zip"]), "expected nnunet-pyconv and nnunetv2 alone"),
        (replaced(requires=["nnunetv2[all]"]), "expected nnunet-pyconv and nnunetv2 alone"),
        (replaced(requires=["$(touch x)"]), "is no requirement"),
        (replaced(format=2), "has format 2 and this nnunet-pyconv reads 1"),
        (replaced(model="Dataset001_Other/a__b__c"), "is of 'Dataset001_Other/a__b__c'; expected the same folder"),
        (replaced(checkpoint="x; rm -rf ~"), "has 'x; rm -rf ~'; expected a checkpoint's name"),
        (replaced(checkpoint="-x.pth"), "expected a checkpoint's name"),
        (replaced(folds=["0", "../1"]), "has '../1'; expected a fold"),
        (replaced(folds=["0", "0"]), "expected each once"),
        (replaced(folds=[]), "has the folds none"),
        (replaced(folds=None), "has None as folds"),
        (replaced(folds=[[]]), "in folds, which is no text"),
        (replaced(sha256={"plans.json": "x"}), "expected a SHA-256"),
        (replaced(network="a b"), "expected a class"),
        (replaced(versions={"torch\u202e": "1"}), r"'torch\\u202e'; expected a package's name"),
        (replaced(more=1), r"lacks, or has besides, \['more'\]"),
        (forged("plans.json", plans_with(network_class_name="os.system")), "plans.json names 'os.system', where"),
        (forged("plans.json", plans_with(arch_kwargs=SHELL)), "plans.json names 'os.system'"),
        (
            forged("plans.json", plans_with(arch_kwargs={"norm_op": "torch.nn.modules.module.warnings.os.system"})),
            "plans.json names 'torch.nn.modules.module.warnings.os.system'",
        ),
        (forged("plans.json", plans_with(arch_kwargs={"norm_op": ["os"]})), r"plans.json names \['os'\]"),
        (forged("plans.json", b"[]"), "plans.json is damaged"),
        (forged("plans.json", b"{"), "plans.json is damaged"),
        (forged("dataset.json", b"[" * 10_000), "has more than 100 lists and objects within each other"),
        (forged("dataset.json", b'{"a": "' + b"[" * 10_000 + b'\\"["'), "dataset.json is damaged"),
        (forged("checkpoint_final.safetensors", b"x" * 100), "checkpoint_final.safetensors does not hold a checkpoint"),
    ],
)  # fmt: skip
def test_refused(change: Change, message: str, package: Path, elsewhere: Path, tmp_path: Path) -> None:
    bad = rewrite(package, tmp_path / "bad.zip", change)
    with pytest.raises(InputError, match=message):
        install_model(bad)
    assert not list(elsewhere.iterdir())
    assert not Path("/tmp/nnunet_pyconv_x").exists()


def test_marker_of_another_machine(package: Path, elsewhere: Path, tmp_path: Path) -> None:
    requires = ["nnunetv2>=99; python_version < '3'", "nnunetv2>=2; python_version > '3'"]
    assert install_model(rewrite(package, tmp_path / "other.zip", replaced(requires=requires))).folder.is_dir()


def test_link(package: Path, elsewhere: Path, tmp_path: Path) -> None:
    bad = rewrite(package, tmp_path / "bad.zip", lambda members: None, links=True)
    with pytest.raises(InputError, match=r"plans.json' is a link"):
        install_model(bad)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_compression(method: int, package: Path, elsewhere: Path, tmp_path: Path) -> None:
    bad = rewrite(package, tmp_path / "bad.zip", lambda members: None, method=method)
    with pytest.raises(InputError, match=f"is compressed by method {method}; expected deflate"):
        install_model(bad)


def test_limits(package: Path, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = rewrite(package, tmp_path / "bad.zip", forged("debug.json", bytes(10**7)), method=zipfile.ZIP_DEFLATED)
    with monkeypatch.context() as patch:
        patch.setattr(archive, "MAX_RATIO", 2)
        with pytest.raises(InputError, match=r"would unpack to \d+ files with 1\d,\d+,\d+ bytes, from .*and 2 times"):
            install_model(bad)
    many = rewrite(package, tmp_path / "many.zip", lambda members: [with_member(f"{n}")(members) for n in range(2000)])
    with pytest.raises(InputError, match=r"would unpack to 20\d\d files"):
        install_model(many)
    large = rewrite(package, tmp_path / "large.zip", replaced(network="x" * 2 * 10**6))
    with pytest.raises(InputError, match=r"manifest.json has 2,\d+,\d+ bytes; expected at most 1,048,576"):
        install_model(large)
    monkeypatch.setattr(archive, "MAX_JSON", 10)
    with pytest.raises(InputError, match="expected at most 10"):
        install_model(package)


@pytest.mark.parametrize("kind", ["truncated", "absent", "flipped", "folder"])
def test_no_zip(kind: str, package: Path, elsewhere: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.zip"
    content = bytearray(package.read_bytes())
    if kind == "flipped":
        content[len(content) // 3] ^= 0xFF
    if kind == "folder":
        file.mkdir()
    elif kind != "absent":
        file.write_bytes(content[: len(content) // 2] if kind == "truncated" else content)
    with pytest.raises(InputError, match="is no file" if kind in ("absent", "folder") else "damaged"):
        install_model(file)
    assert not list(elsewhere.iterdir())


def test_six_installs_at_once(package: Path, elsewhere: Path) -> None:
    said: list[str] = []

    def install() -> None:
        try:
            said.append(f"installed {install_model(package).folder}")
        except InputError as error:
            said.append(str(error))

    threads = [threading.Thread(target=install) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [text for text in said if text.startswith("installed")] == [f"installed {elsewhere / MODEL}"]
    refused = [text for text in said if "is being written by another process" in text or "exists already" in text]
    assert len(refused) == 5
    assert [path.name for path in (elsewhere / MODEL).parent.iterdir()] == [Path(MODEL).name]


@pytest.mark.parametrize(
    "name", ["", "-x", ".x", " x", "a/b", "a\\b", "a:b", "a\nb", "a\x00b", "a\u202eb", "a\u2066b", "a\u200bb", "a\x7fb"]
)  # fmt: skip
def test_no_plain_name(name: str) -> None:
    assert not is_plain(name)


def test_dataset_whose_name_nnunet_allows(
    package: Path, model: Path, tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """nnU-Net takes any name after the number; the command that is printed quotes it."""
    dataset = "Dataset312_Zellen (Übung) $HOME"
    copy = tmp_path / dataset / model.name
    copy.parent.mkdir()
    copy.symlink_to(model)
    main(["share", str(copy), "-o", str(tmp_path / "model.zip")])
    main(["install", str(tmp_path / "model.zip")])
    assert (elsewhere / dataset / model.name / "plans.json").is_file()
    assert f"nnUNetv2_predict -d '{dataset}' -tr" in capsys.readouterr().out
    with pytest.raises(InputError, match="is no model's folder"):
        parse_model("Dataset1_x/a__b__c")


def test_installed_model_is_not_trained_on(
    package: Path, model: Path, elsewhere: Path, module_folders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no state of the optimiser, and says so."""
    folder = install_model(package).folder
    monkeypatch.setenv("nnUNet_results", str(module_folders.results))
    monkeypatch.setenv("nnUNet_preprocessed", str(module_folders.preprocessed))
    from nnunet_pyconv.trainers import nnUNetTrainerPyConv

    plans = json.loads((model / "plans.json").read_text())
    dataset = json.loads((model / "dataset.json").read_text())
    trainer = nnUNetTrainerPyConv({**plans, "continue_training": False}, "2d", 0, dataset, torch.device("cpu"))
    with pytest.raises(RuntimeError, match=r"has no optimizer_state; .*fine-tune those with -pretrained_weights"):
        trainer.load_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))


def test_foreign_network_is_not_shared(module_folders: Any, tmp_path: Path) -> None:
    from nnunet_pyconv.trainers.variants import nnUNetTrainerPyConv_10epochs

    made = make_model(module_folders, nnUNetTrainerPyConv_10epochs)
    (made / "plans.json").write_bytes(plans_with(network_class_name="monai.networks.nets.UNet"))
    with pytest.raises(InputError, match="plans.json names 'monai.networks.nets.UNet'"):
        share_model(made, tmp_path / "model.zip")
