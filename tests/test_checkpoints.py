"""Checkpoints that are cut off, of another network, or interrupted while they are written; folds that don't exist."""

from __future__ import annotations

import ast
import errno
import json
import os
import random
import re
import resource
import signal
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import NnunetFolders
from forks import in_fork, status_of
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from plans_of_nnunet import DATASET, dataset_json, make_plans, plans_3d
from trainers_of_nnunet import make_trainer

import nnunet_pyconv
from nnunet_pyconv.checkpoints import (
    TRUST_VARIABLE,
    UnreadableCheckpointError,
    UntrustedCheckpointError,
    check_whole,
    load_checkpoint,
)
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.training_log import read_training_log
from nnunet_pyconv.planning import swap_plans
from nnunet_pyconv.trainers import nnUNetTrainerPyConv, nnUNetTrainerPyConvBottleneck, robust_checkpoints
from nnunet_pyconv.trainers.variants import nnUNetTrainerPyConvNoMirroring

FINAL, LATEST, BEST = (f"checkpoint_{name}.pth" for name in ("final", "latest", "best"))


@pytest.fixture(autouse=True)
def _no_data(nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's trainers look at the preprocessed data to see how they are stored."""
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda _: None)


def trainer_of(trainer: type[nnUNetTrainer] = nnUNetTrainerPyConv, **plans: Any) -> nnUNetTrainer:
    return make_trainer(make_plans(**plans), "2d", dataset_json(), trainer)


def save(trainer: nnUNetTrainer, name: str, epoch: int) -> Path:
    """Save what `--c` continues with `epoch`."""
    trainer.current_epoch = epoch - 1
    file = Path(trainer.output_folder) / name
    trainer.save_checkpoint(str(file))
    return file


def cut_off(file: Path, kept: float) -> None:
    os.truncate(file, int(file.stat().st_size * kept))


def log_of(trainer: nnUNetTrainer) -> str:
    return Path(trainer.log_file).read_text()


@pytest.mark.parametrize("trainer", [nnUNetTrainerPyConv, nnUNetTrainerPyConvNoMirroring], ids=lambda t: t.__name__)
def test_same_content_as_nnunets_and_the_version(trainer: type[nnUNetTrainer]) -> None:
    made = trainer_of(trainer)
    file = save(made, LATEST, 3)
    written = torch.load(file, weights_only=False)
    nnUNetTrainer.save_checkpoint(made, str(file))
    of_nnunet = torch.load(file, weights_only=False)
    assert written.keys() == of_nnunet.keys()
    assert written["current_epoch"] == of_nnunet["current_epoch"] == 3
    assert written["init_args"]["nnunet_pyconv"] == nnunet_pyconv.__version__
    assert [path.name for path in file.parent.glob("*.pth*")] == [LATEST]


def no_space_left(_: Any, file: str) -> None:
    Path(file).write_bytes(b"the first half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def too_large_a_file(checkpoint: Any, file: str, write: Callable[..., None] = torch.save) -> None:
    """The system refuses to write on, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        write(checkpoint, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("write", [no_space_left, too_large_a_file], ids=lambda f: f.__name__)
def test_full_disk(write: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(patch_size=64)
    file = save(trainer, LATEST, 3)
    earlier = file.read_bytes()
    assert len(earlier) > 200_000
    monkeypatch.setattr(torch, "save", write)
    with pytest.raises(OSError, match=f"{LATEST} could not be written .* as it was"):
        save(trainer, LATEST, 4)
    assert file.read_bytes() == earlier
    assert [path.name for path in file.parent.glob("*.pth*")] == [LATEST]


def test_killed_while_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of()
    file = save(trainer, LATEST, 3)

    def killed(_: Any, partial: str) -> None:
        Path(partial).write_bytes(b"the first half")
        os.kill(os.getpid(), signal.SIGKILL)

    def train() -> None:
        monkeypatch.setattr(torch, "save", killed)
        save(trainer, LATEST, 4)

    assert status_of(in_fork(train)) == -signal.SIGKILL
    assert len(list(file.parent.glob("*.pth*"))) == 2  # with what it was writing
    continued = trainer_of()
    maybe_load_checkpoint(continued, continue_training=True, validation_only=False)
    assert continued.current_epoch == 3
    monkeypatch.setattr(nnUNetTrainer, "run_training", lambda self: None)
    continued.run_training()
    assert [path.name for path in file.parent.glob("*.pth*")] == [LATEST]


def test_one_training_a_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one is refused, and writes nothing; a killed one holds nobody up."""
    first, second = trainer_of(), trainer_of()
    ran = []

    def train(self: nnUNetTrainer) -> None:
        ran.append(self)
        if self is first:
            with pytest.raises(InputError, match=r"fold_0 is being trained or validated by another process; wait"):
                second.run_training()
            with pytest.raises(InputError, match="is being trained"):
                second.perform_actual_validation()

    monkeypatch.setattr(nnUNetTrainer, "run_training", train)
    first.run_training()
    assert ran == [first]

    def train_and_be_killed() -> None:
        monkeypatch.setattr(nnUNetTrainer, "run_training", lambda self: os.kill(os.getpid(), signal.SIGKILL))
        trainer_of().run_training()

    assert status_of(in_fork(train_and_be_killed)) == -signal.SIGKILL
    second.run_training()
    assert ran == [first, second]
    assert not list(Path(first.output_folder).glob(".*"))


def test_two_processes_that_write_one_checkpoint() -> None:
    """Each has a file of its own until it is whole, so whoever reads finds a whole one."""
    trainer = trainer_of()
    file = save(trainer, LATEST, 1)

    def write() -> None:
        for _ in range(12):
            trainer.save_checkpoint(str(file))

    child = in_fork(write)
    for _ in range(12):
        trainer.save_checkpoint(str(file))
        check_whole(file)
    assert status_of(child) == 0


def test_flipped_bits() -> None:
    """Each flip in a checkpoint is found, unless it changes nothing that is loaded."""
    trainer = trainer_of()
    file = save(trainer, FINAL, 9)
    save(trainer, LATEST, 5)
    content, whole = file.read_bytes(), load_checkpoint(file)
    rng = random.Random(0)
    found = 0
    for _ in range(60):
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        try:
            loaded = load_checkpoint(file)
        except UnreadableCheckpointError:
            found += 1
        else:
            assert all(torch.equal(w, loaded["network_weights"][n]) for n, w in whole["network_weights"].items())
            assert str(loaded["optimizer_state"]) == str(whole["optimizer_state"])
    assert found > 40
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    continued = trainer_of()
    maybe_load_checkpoint(continued, continue_training=True, validation_only=False)
    assert continued.current_epoch == 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "pipe", "text", "compressed", "tar"])
def test_no_file_of_torch(kind: str, tmp_path: Path) -> None:
    trainer = trainer_of()
    save(trainer, LATEST, 5)
    file = Path(trainer.output_folder) / FINAL
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "text":
        file.write_text("<html>404</html>")
    elif kind == "compressed":  # a small file that grows large
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(10**6))
    else:  # torch.load's older formats have no checksums, and had ways around weights_only
        with tarfile.open(file, "w") as archive:
            archive.add(__file__, "pickle")
    trainer.load_checkpoint(str(file))
    assert trainer.current_epoch == 5


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return Path.touch, (self.witness,)


def test_checkpoint_that_runs_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of()
    file, witness = save(trainer, LATEST, 5), tmp_path / "witness"
    torch.save({**load_checkpoint(file), "extra": Evil(witness)}, file)
    with pytest.raises(UntrustedCheckpointError, match=r"checkpoint_latest.pth holds more .*NNUNET_PYCONV_TRUST=1 in"):
        trainer.load_checkpoint(str(file))
    with pytest.raises(UntrustedCheckpointError, match="with --trust in"):
        read_training_log(file)
    assert not witness.exists()
    monkeypatch.setenv(TRUST_VARIABLE, "1")
    trainer.load_checkpoint(str(file))
    assert trainer.current_epoch == 5
    assert witness.exists()


# every other place that unpickles, with the reason
UNPICKLED = {
    "nnunet_pyconv/checkpoints.py": "weights_only=not trust",  # the one place that loads checkpoints, told to trust
}


def test_nothing_else_unpickles() -> None:
    root = Path(__file__).parents[1]
    found: dict[str, str] = {}
    for folder in ("nnunet_pyconv", "dataset_conversion"):
        for file in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                called = ast.unparse(node.func)
                unsafe = [
                    f"{word.arg}={ast.unparse(word.value)}"
                    for word in node.keywords
                    if (word.arg == "weights_only" and ast.unparse(word.value) != "True")
                    or (word.arg == "allow_pickle" and ast.unparse(word.value) != "False")
                ]
                if called == "torch.load" and not any(word.arg == "weights_only" for word in node.keywords):
                    unsafe.append("torch.load without weights_only")  # not yet the default in PyTorch 2.4
                if re.fullmatch(
                    r"(c?[Pp]ickle|dill|joblib|shelve)\.(loads?|Unpickler|open)|load_pickle|.*read_pickle", called
                ):
                    unsafe.append(called)
                if unsafe:
                    name = file.relative_to(root).as_posix()
                    found[name] = " ".join(filter(None, [found.get(name), *unsafe]))
    assert found == UNPICKLED


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0, 1e-4, 0.5, 0.999])
@pytest.mark.parametrize(
    ("damaged", "continued_with"),
    [([FINAL], LATEST), ([FINAL, LATEST], BEST), ([LATEST], FINAL)],
    ids=["final", "final+latest", "latest-unused"],
)
def test_cut_off_checkpoint(damaged: list[str], continued_with: str, kept: float) -> None:
    trainer = trainer_of()
    epochs = {FINAL: 9, LATEST: 5, BEST: 4}
    files = {name: save(trainer, name, epoch) for name, epoch in epochs.items()}
    for name in damaged:
        cut_off(files[name], kept)
    continued = trainer_of()
    maybe_load_checkpoint(continued, continue_training=True, validation_only=False)
    assert continued.current_epoch == epochs[continued_with]
    log = log_of(continued)
    if continued_with != FINAL:
        assert all(f"{files[name]} is damaged or cut off" in log for name in damaged)
        assert f"loading {files[continued_with]} in its place" in log
    else:
        assert "damaged" not in log


def test_cut_off_and_none_before() -> None:
    trainer = trainer_of()
    file = save(trainer, BEST, 2)
    save(trainer, FINAL, 3)  # of a later time: --val_best asks for the best one and must not get another
    cut_off(file, 0.5)
    with pytest.raises(RuntimeError, match=f"{BEST} is damaged or cut off, and there is no earlier .* train anew"):
        trainer.load_checkpoint(str(file))


def other_kernels() -> nnUNetTrainer:
    plans, _ = swap_plans(make_plans(), dataset_json(), "nnUNetPyConvPlans")
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["pyramid"][0]["kernel_sizes"] = [3, 5]
    return make_trainer(plans, "2d", dataset_json())


PYRAMID = r"expected in encoder\.stages\.0\.0\.convs\.[01]\.conv: a pyramid in 2D, kernels 3x3, 5x5, 7x7, 9x9 "


@pytest.mark.parametrize(
    ("other", "found", "writer"),
    [
        (other_kernels, r"a pyramid in 2D, kernels 3x3, 5x5 \(", "nnUNetTrainerPyConv with the configuration 2d"),
        (
            lambda: trainer_of(nnUNetTrainer),
            r"no pyramid but one layer, kernels 3x3 \(weights 8x1x3x3\)",
            "nnUNetTrainer",
        ),
        (lambda: trainer_of(nnUNetTrainerPyConvBottleneck), "another block, of ", "nnUNetTrainerPyConvBottleneck"),
        (
            lambda: make_trainer(plans_3d("PlainConvUNet"), "3d_fullres", dataset_json()),
            "a pyramid in 3D, kernels 1x3x3, 1x5x5",
            "nnUNetTrainerPyConv with the configuration 3d_fullres",
        ),
    ],
    ids=["other-kernels", "stock-trainer", "bottleneck", "3d"],
)
def test_checkpoint_of_another_network(other: Callable[[], nnUNetTrainer], found: str, writer: str) -> None:
    trainer = trainer_of()
    file = save(other(), LATEST, 3)
    before = {name: weight.clone() for name, weight in trainer.network.state_dict().items()}
    with pytest.raises(RuntimeError) as error:
        trainer.load_checkpoint(str(file))
    message = str(error.value)
    assert f"{file} is of another network than that of nnUNetTrainerPyConv" in message
    assert f"the configuration 2d of nnUNetPlans (nnunet-pyconv {nnunet_pyconv.__version__})" in message
    assert re.search(PYRAMID, message)
    assert re.search(f"found in the checkpoint: {found}", message)
    assert f"written by {writer}" in message
    assert trainer.current_epoch == 0
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.network.state_dict().items())


def test_the_trainers_share_what_they_can() -> None:
    """The stock trainer's checkpoint with our plans has our network."""
    plans, _ = swap_plans(make_plans(), dataset_json(), "nnUNetPyConvPlans")
    file = save(make_trainer(plans, "2d", dataset_json(), nnUNetTrainer), LATEST, 3)
    ours = make_trainer(plans, "2d", dataset_json())
    ours.load_checkpoint(str(file))
    assert ours.current_epoch == 3


def test_version_that_wrote_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(robust_checkpoints, "__version__", "0.0.7")
        file = save(other_kernels(), LATEST, 3)
    with pytest.raises(RuntimeError, match=r"written by nnUNetTrainerPyConv .*\(nnunet-pyconv 0\.0\.7\)"):
        trainer_of().load_checkpoint(str(file))


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {}}], ids=["list", "dict"])
def test_no_checkpoint_of_nnunet(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises((RuntimeError, InputError), match=r"weights\.pth is no checkpoint of nnU-Net's trainers"):
        trainer_of().load_checkpoint(str(tmp_path / "weights.pth"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (other_kernels, r"levels\.0\.weight is not the same"),
        (lambda: trainer_of(nnUNetTrainer), r"Key .*\.levels\.0\.weight is missing in the pretrained"),
    ],
    ids=["other-kernels", "stock-trainer"],
)
def test_pretrained_weights_of_another_network(other: Callable[[], nnUNetTrainer], message: str) -> None:
    """nnU-Net's own check of `-pretrained_weights` names the level."""
    file = save(other(), FINAL, 3)
    with pytest.raises(AssertionError, match=message):
        load_pretrained_weights(trainer_of().network, str(file))


class Cases:
    """Stands for nnU-Net's dataset of preprocessed cases."""

    identifiers = tuple(f"case_{number}" for number in range(10))

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...


def test_fold_beyond_the_splits(nnunet_folders: NnunetFolders) -> None:
    """nnU-Net makes a random split of 80:20 for it and says so."""
    (nnunet_folders.preprocessed / DATASET).mkdir()
    trainer = trainer_of()
    trainer.fold, trainer.dataset_class = 7, Cases
    training, validation = trainer.do_split()
    assert (len(training), len(validation)) == (8, 2)
    assert "You requested fold 7 for training but splits contain only 5 folds" in log_of(trainer)


def test_fold_that_was_not_trained() -> None:
    """nnU-Net refuses to validate, and to predict with it."""
    trainer = trainer_of()
    with pytest.raises(RuntimeError, match="the training is not finished yet"):
        maybe_load_checkpoint(trainer, continue_training=False, validation_only=True)
    model = Path(trainer.output_folder).parent
    for name, content in (("dataset.json", dataset_json()), ("plans.json", make_plans())):
        (model / name).write_text(json.dumps(content))
    with pytest.raises(FileNotFoundError, match="fold_7"):
        nnUNetPredictor(device=torch.device("cpu")).initialize_from_trained_model_folder(str(model), (7,))
