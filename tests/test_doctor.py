from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import NnunetFolders
from plans_of_nnunet import DATASET, make_plans

from nnunet_pyconv.cli import main
from nnunet_pyconv.doctor import Finding, examine
from nnunet_pyconv.locks import locked
from nnunet_pyconv.planning import plan_pyconv
from nnunet_pyconv.trainer_dir import TRAINER_DIR
from nnunet_pyconv.writing import whole_folder


def to_fix() -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine() if finding.fix is not None}


@pytest.fixture
def ready(nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which a training could start."""
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))
    folder = nnunet_folders.preprocessed / DATASET
    (folder / "nnUNetPlans_2d").mkdir(parents=True)
    (folder / "nnUNetPlans_2d" / "isbi_cell_000.pkl").touch()
    (folder / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "cell": 1}, "channel_names": {"0": "EM"}})
    )
    (folder / "nnUNetPlans.json").write_text(json.dumps(make_plans()))
    return folder


def test_all_is_well(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan_pyconv(312)
    main(["doctor"])
    out = capsys.readouterr().out
    assert f"{DATASET} nnUNetPyConvPlans 2d: resolves to PyConvUNet" in out
    assert out.endswith("A training can start.\n")
    assert "!!" not in out


def test_plans_may_have_any_name(ready: Path) -> None:
    (ready / "nnUNetPlans.json").rename(ready / "mynet.json")
    assert to_fix() == {}


def test_nothing_is_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_extTrainer"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as exit_:
        main(["doctor"])
    assert exit_.value.code == 1
    out = capsys.readouterr().out
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        assert f"export {name}=" in out
    assert 'export nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)"' in out


def test_trainer_folder_that_is_another(ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path))
    (finding,) = to_fix().values()
    assert str(TRAINER_DIR) in str(finding.fix)


def test_folder_that_is_not_there(ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "gone"))
    assert "mkdir -p" in str(to_fix()["nnUNet_results"].fix)


def test_nothing_is_preprocessed(ready: Path) -> None:
    (ready / "nnUNetPlans_2d" / "isbi_cell_000.pkl").unlink()
    assert "nnUNetv2_plan_and_preprocess" in str(to_fix()["datasets"].fix)


def damaged(plans: dict[str, Any], **changes: Any) -> dict[str, Any]:
    architecture = plans["configurations"]["2d"]["architecture"]
    architecture["arch_kwargs"] |= changes.pop("arch_kwargs", {})
    architecture |= changes
    return plans


@pytest.mark.parametrize(
    ("plans", "reason"),
    [
        pytest.param(damaged(make_plans(), network_class_name="nowhere.Network"), "ImportError", id="not-installed"),
        pytest.param(damaged(make_plans(), arch_kwargs={"n_stages": 5}), "AssertionError", id="stages"),
        pytest.param(
            damaged(
                make_plans(),
                network_class_name="nnunet_pyconv.architectures.PyConvUNet",
                arch_kwargs={"pyramid": [{"kernel_sizes": [3, 4]}] * 3},
            ),
            "kernel 4",
            id="even-kernel",
        ),
        pytest.param(
            damaged(
                make_plans(patch_size=16),
                network_class_name="nnunet_pyconv.architectures.PyConvUNet",
                arch_kwargs={"pyramid": [{"kernel_sizes": [3, 5]}] * 3},
            ),
            "patch_size [16, 16] is too small for the pyramid",  # the last map is 4 x 4
            id="small-patch",
        ),
    ],
)
def test_plans_that_give_no_network(plans: dict[str, Any], reason: str, ready: Path) -> None:
    (ready / "nnUNetPlans.json").write_text(json.dumps(plans))
    findings = to_fix()
    assert reason in findings[f"{DATASET} nnUNetPlans 2d"].state
    assert findings["datasets"].blocks


def test_fault_of_one_dataset_leaves_the_others(ready: Path) -> None:
    (ready.parent / "Dataset007_Old").mkdir()
    (ready.parent / "Dataset007_Old" / "nnUNetPlans.json").write_text("{")
    (finding,) = to_fix().values()
    assert finding.subject == "Dataset007_Old nnUNetPlans"
    assert not finding.blocks
    main(["doctor"])


def test_dataset_json_is_gone(ready: Path) -> None:
    (ready / "dataset.json").unlink()
    assert to_fix()["datasets"].blocks


def test_another_trainer_folder_is_broken(ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "trainer_of_mine.py").write_text("import module_that_is_not_there")
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([str(tmp_path / "broken"), str(TRAINER_DIR)]))
    (finding,) = to_fix().values()
    assert "module_that_is_not_there" in finding.state


@pytest.mark.parametrize("damage", ["cut off", "empty", "one byte"])
def test_damaged_checkpoint(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    final, best, other = (tmp_path / name for name in (
        "fold_0/checkpoint_final.pth", "fold_0/checkpoint_best.pth", "fold_1/checkpoint_final.pth"
    ))  # fmt: skip
    for file in (final, best, other):
        file.parent.mkdir(exist_ok=True)
        torch.save({"network_weights": torch.arange(1000.0)}, file)
    main(["doctor", str(tmp_path)])
    assert capsys.readouterr().out.endswith("All checkpoints can be used.\n")

    for file in (final, other):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes({"cut off": content[:-50], "empty": b"", "one byte": content}[damage])
    with pytest.raises(SystemExit) as exit_:
        main(["doctor", str(tmp_path)])
    assert exit_.value.code == 1
    out = capsys.readouterr().out
    assert f"[!!] fold_0 checkpoint_final.pth: {final} is damaged or cut off (" in out
    assert "fix: predict with -f 0 -chk checkpoint_best.pth, or restore it from a copy" in out
    assert "[ok] fold_0 checkpoint_best.pth: whole" in out
    assert re.search(rf"{other} is damaged or cut off \(.*\n     fix: restore it from a copy", out)
    assert out.endswith("2 to fix before all checkpoints can be used.\n")


def test_no_folder_of_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["doctor", str(tmp_path / "gone")])
    assert exit_.value.code == 2
    assert f"{tmp_path / 'gone'} has no fold_*/checkpoint_*.pth" in capsys.readouterr().err


def test_leftovers_of_killed_processes(
    ready: Path, nnunet_folders: NnunetFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """They are named, and cleared away when asked; what is being written now is left alone."""
    monkeypatch.chdir(tmp_path)
    dataset, fold = (
        nnunet_folders.raw / "Dataset007_Old",
        nnunet_folders.results / "Dataset007_Old" / "a__b__c" / "fold_0",
    )
    half = dataset.with_name(f".{dataset.name}.nnunet_pyconv") / "new"
    half.mkdir(parents=True)
    partial = fold / "checkpoint_latest.pth.0.partial"
    fold.mkdir(parents=True)
    partial.touch()
    finished = tmp_path / ".report.nnunet_pyconv" / "ready"
    finished.mkdir(parents=True)
    main(["doctor"])
    out = capsys.readouterr().out
    for path in (dataset, partial, tmp_path / "report"):
        assert f"a process that wrote {path} was killed" in out
    with whole_folder(tmp_path / "now"), locked(fold / ".training.lock", "trained"):
        main(["doctor", "--clean"])
        assert (tmp_path / ".now.nnunet_pyconv" / "new").is_dir()
    assert partial.exists()
    assert not half.parent.exists()
    assert (tmp_path / "report").is_dir()
    main(["doctor", "--clean"])
    assert not partial.exists()
    assert f"cleared away what was left of writing {partial}" in capsys.readouterr().out
    main(["doctor"])
    assert "was killed" not in capsys.readouterr().out
