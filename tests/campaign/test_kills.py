"""Commands killed at random moments: nothing is lost or half-written, no process is left, and the same command goes on.

Each command runs in a fork of this process, which has imported everything, so that the moments fall into its work.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import made_models
import psutil
import pytest
from batchgenerators.utilities.file_and_folder_operations import load_json, save_json
from conftest import NnunetFolders
from forks import in_fork, status_of
from made_models import Recipe
from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint
from packages import MODEL, make_model
from plans_of_nnunet import DATASET
from results_folders import MadeDataset, square

from nnunet_pyconv.checkpoints import check_whole
from nnunet_pyconv.cli import main
from nnunet_pyconv.demo.network import CONFIGURATION, SYNTHETIC, small_configuration
from nnunet_pyconv.runtime.model_file import ModelFile
from nnunet_pyconv.sharing import share_model
from nnunet_pyconv.sharing.archive import open_package
from nnunet_pyconv.synthetic.isbi import write_synthetic_isbi
from nnunet_pyconv.trainer_dir import TRAINER_DIR
from nnunet_pyconv.trainers import nnUNetTrainerPyConv
from nnunet_pyconv.trainers.robust_checkpoints import PARTIAL
from nnunet_pyconv.writing import MARK, finish_or_remove

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks, and SIGKILL"),
]

SEED = int(os.environ.get("NNUNET_PYCONV_CAMPAIGN_SEED", "2026"))
SHARE = float(os.environ.get("NNUNET_PYCONV_CAMPAIGN_SHARE", "1"))


def kills(number: int) -> range:
    return range(max(1, round(number * SHARE)))


def killed_after(seconds: float, child: int) -> bool:
    """Kill a process after a time; whether it still ran. All processes that it had started have to end as well."""
    deadline = time.monotonic() + seconds
    process, started = psutil.Process(child), set()
    while time.monotonic() < deadline and os.waitpid(child, os.WNOHANG) == (0, 0):
        with contextlib.suppress(psutil.NoSuchProcess):
            started |= set(process.children(recursive=True))
        time.sleep(0.02)
    with contextlib.suppress(psutil.NoSuchProcess):
        started |= set(process.children(recursive=True))
    try:
        os.kill(child, signal.SIGKILL)
        alive = status_of(child) == -signal.SIGKILL
    except (ProcessLookupError, ChildProcessError):
        alive = False
    left = psutil.wait_procs(started, timeout=30)[1]
    assert not left, [process.cmdline() for process in left if process.is_running()]
    return alive


def ended(child: int, log: Path) -> None:
    assert status_of(child) == 0, log.read_text()[-3000:]


def digest(path: Path) -> str:
    """Of a folder's names and contents, or of a file's content; empty where there is none."""
    if not path.exists():
        return ""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    sha = hashlib.sha256()
    for file in files:
        content = re.sub(rb"\d{4}-\d\d-\d\d[ T][\d:.]+|<dc:date>.*?</dc:date>", b"", file.read_bytes())
        sha.update(str(file.relative_to(path.parent)).encode() + content)
    return sha.hexdigest()


@dataclass(frozen=True)
class Written:
    """A command that writes one file or folder.

    Attributes:
        command: Its arguments, in the test's folder.
        target: What it writes.
        is_whole: Raises an error where what lies there is not whole.
        kills: How many times to kill it.
    """

    command: Sequence[str]
    target: str
    is_whole: Callable[[Path], object]
    kills: int


def all_names(*names: str) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        assert not [name for name in names if not (folder / name).exists()]

    return check


def package_opens(file: Path) -> None:
    with open_package(file):
        pass


EXPORTED = "Dataset314_Made/nnUNetTrainer__nnUNetPlans__2d"
WRITTEN = {
    "convert": Written(
        ("convert", "isbi_cell", "-i", "source", "-np", "1"),
        f"nnUNet_raw/{DATASET}",
        all_names("dataset.json", "imagesTr", "labelsTr", "imagesTs"),
        12,
    ),
    "install": Written(
        ("install", "package.zip"),
        f"elsewhere/{MODEL}",
        lambda folder: check_whole(folder / "fold_0" / "checkpoint_final.pth"),
        12,
    ),
    "share": Written(("share", f"nnUNet_results/{MODEL}", "-o", "shared.zip"), "shared.zip", package_opens, 6),
    "report": Written(
        ("report", "-d", "313", "-np", "2", "-o", "report"), "report", all_names("report.html", "tables", "figures"), 4
    ),
    "export": Written(("export", f"nnUNet_results/{EXPORTED}", "-o", "model.pyz"), "model.pyz", ModelFile.open, 4),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All inputs: a source to convert, a trained model, a package, and results to report."""
    base = tmp_path_factory.mktemp("made")
    folders = NnunetFolders(*(base / f"nnUNet_{name}" for name in ("raw", "preprocessed", "results")))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("raw", "preprocessed", "results"):
            (base / f"nnUNet_{name}").mkdir()
            patch.setenv(f"nnUNet_{name}", str(base / f"nnUNet_{name}"))
        write_synthetic_isbi(base / "source", labelled=20, unlabelled=4, size_px=64)
        share_model(make_model(folders, nnUNetTrainerPyConv), base / "package.zip")
        exported = made_models.make_model(Recipe((32, 32), file_ending=".png"), folders, EXPORTED.partition("/")[0])
        assert exported["2d"].folder == folders.results / EXPORTED
        truth = {f"case_{index}": square(16, 2, 14, 2, 14) for index in range(4)}
        results = MadeDataset(folders, "Dataset313_Squares", truth, {"background": 0, "cell": 1})
        results.model("nnUNetTrainer__nnUNetPlans__2d", {case: square(16, 3, 14, 2, 14) for case in truth})
        results.model("nnUNetTrainerPyConv__nnUNetPlans__2d", truth)
    (base / "elsewhere").mkdir()
    return base


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("overwritten", [False, True], ids=["new", "overwritten"])
def test_what_is_written_is_whole(
    name: str, overwritten: bool, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    written, here, log = WRITTEN[name], tmp_path / "here", tmp_path / "log"
    shutil.copytree(made, here)
    monkeypatch.chdir(here)
    for variable in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{variable}", str(here / f"nnUNet_{variable}"))
    if name == "install":
        monkeypatch.setenv("nnUNet_results", str(here / "elsewhere"))
    command = [*written.command, "--overwrite"] if overwritten else written.command
    target = here / written.target
    start = time.monotonic()
    ended(in_fork(lambda: main(command), log), log)
    seconds = time.monotonic() - start
    rng, hit, taken_over = random.Random(f"{SEED} {name} {overwritten}"), 0, 0
    for _ in kills(written.kills // 2):
        if not overwritten:
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        before = digest(target)
        hit += killed_after(rng.uniform(0, seconds), in_fork(lambda: main(command), log))
        finish_or_remove(target)  # as the next command does, or the doctor
        if digest(target) not in ("", before):
            written.is_whole(target)
        assert not overwritten or target.exists()
        taken_over += digest(target) != before
        assert not [path for path in here.rglob("*") if MARK in path.name]
        ended(in_fork(lambda: main([*written.command, "--overwrite"]), log), log)
        written.is_whole(target)
    with capsys.disabled():
        print(f"\n{name}{', overwritten' * overwritten}: {hit} kills, {taken_over} after the target was in place")


def small_training(folder: Path) -> None:
    """Convert, plan and preprocess; plans of a small network."""
    write_synthetic_isbi(folder / "source", labelled=10, unlabelled=2, size_px=64)
    main(["convert", "isbi_cell", "-i", str(folder / "source"), "-np", "1", "--protocol", "paper"])
    tool = str(Path(sys.executable).with_name("nnUNetv2_plan_and_preprocess"))
    subprocess.run([tool, "-d", "312", "--no_pp"], check=True, capture_output=True)
    file = folder / "nnUNet_preprocessed" / DATASET / "nnUNetPlans.json"
    plans = load_json(str(file))
    plans["configurations"][CONFIGURATION] = small_configuration(plans, SYNTHETIC)
    save_json(plans, str(file), sort_keys=False)
    tool = str(Path(sys.executable).with_name("nnUNetv2_preprocess"))
    subprocess.run([tool, "-d", "312", "-c", CONFIGURATION, "-np", "1"], check=True, capture_output=True)


def trainer(epochs: int = 1000) -> Any:
    import torch

    made = get_trainer_from_args("312", CONFIGURATION, 0, "nnUNetTrainerPyConv", device=torch.device("cpu"))
    made.num_epochs, made.num_iterations_per_epoch, made.num_val_iterations_per_epoch = epochs, 2, 1
    made.save_every = 1
    return made


def go_on(epochs: int = 1000) -> None:
    made = trainer(epochs)
    maybe_load_checkpoint(made, continue_training=True, validation_only=False)
    made.run_training()


def test_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Each next training goes on from the last checkpoint; those that lie there are always whole."""
    monkeypatch.chdir(tmp_path)
    for variable in ("raw", "preprocessed", "results"):
        (tmp_path / f"nnUNet_{variable}").mkdir()
        monkeypatch.setenv(f"nnUNet_{variable}", str(tmp_path / f"nnUNet_{variable}"))
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))
    monkeypatch.setenv("nnUNet_n_proc_DA", "2")
    small_training(tmp_path)
    fold = tmp_path / "nnUNet_results" / DATASET / f"nnUNetTrainerPyConv__nnUNetPlans__{CONFIGURATION}" / "fold_0"
    rng, hit, epochs, log = random.Random(f"{SEED} training"), 0, [0], tmp_path / "log"
    for _ in kills(8):
        child = in_fork(go_on, log)
        began = time.monotonic()
        while time.monotonic() - began < 120 and "Epoch" not in log.read_text():
            time.sleep(0.1)
        hit += killed_after(rng.uniform(0, 6), child)
        assert "Traceback" not in log.read_text(), log.read_text()[-3000:]
        for file in fold.glob("*.pth"):
            check_whole(file)
        shown = re.findall(r"Epoch (\d+)", log.read_text())
        assert int(shown[0]) >= epochs[-1]
        if (fold / "checkpoint_latest.pth").exists():
            epochs.append(int(shown[0]))
    ended(in_fork(lambda: go_on(int(shown[-1]) + 3), log), log)
    assert (fold / "checkpoint_final.pth").is_file()
    assert not list(fold.glob(f"*{PARTIAL}"))
    assert not list(fold.glob(".*"))
    with capsys.disabled():
        print(f"\ntraining: {hit} kills, went on from the epochs {epochs[1:]}")


SHORT = """
from nnunet_pyconv.trainers import nnUNetTrainerPyConvPaper


class nnUNetTrainerPyConvPaperShort(nnUNetTrainerPyConvPaper):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.save_every = 2, 1
"""


def test_reproduce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Killed again and again, the same command goes on, and comes to the same end."""
    monkeypatch.chdir(tmp_path)
    for variable in ("raw", "preprocessed", "results"):
        (tmp_path / f"nnUNet_{variable}").mkdir()
        monkeypatch.setenv(f"nnUNet_{variable}", str(tmp_path / f"nnUNet_{variable}"))
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "short.py").write_text(SHORT)
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path / "trainers"))
    write_synthetic_isbi(tmp_path / "source", labelled=10, unlabelled=2, size_px=32)
    main(["convert", "isbi_cell", "-i", "source", "-np", "1", "--protocol", "paper"])
    command = ["reproduce", "--datasets", "isbi_cell", "--networks", "pyconv_unet", "-device", "cpu", "-np", "1"]
    command += ["-tr", "nnUNetTrainerPyConvPaperShort"]
    rng, hit, log = random.Random(f"{SEED} reproduce"), 0, tmp_path / "log"
    for _ in kills(4):
        hit += killed_after(rng.uniform(2, 40), in_fork(lambda: main(command), log))
        assert "Traceback" not in log.read_text(), log.read_text()[-3000:]
    ended(in_fork(lambda: main(command), log), log)
    assert "PyConvU-Net" in log.read_text()
    with capsys.disabled():
        print(f"\nreproduce: {hit} kills, and then done")
