"""The parts of reproduce, without a training; test_reproduce.py runs whole ones."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import blosc2
import numpy as np
import psutil
import pytest
import skimage.io as io
import torch
from conftest import NnunetFolders
from waiting import wait_until

from nnunet_pyconv.cli import main
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_commands import Step, run_steps
from nnunet_pyconv.nnunet_folders import Setup
from nnunet_pyconv.reproduction import (
    ExperimentRequest,
    Preparation,
    Run,
    pack,
    preparations_of,
    reproduce,
    runs_of,
    unpack,
)
from nnunet_pyconv.reproduction.executor import Executor
from nnunet_pyconv.reproduction.reproduce import report_requests

DATASET = "Dataset312_ISBICell"
CASES = ("case_0", "case_1")
PIXELS = np.zeros((4, 4), np.uint8)
FINAL, BEST = "checkpoint_final.pth", "checkpoint_best.pth"
VALIDATED, TESTED = "validation/summary.json", "test/summary.json"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def a_run(trainer: str = "T", preparation: Preparation | None = None, **arguments: object) -> Run:
    preparation = preparation or Preparation(DATASET, 1)
    network = arguments.get("network", "unet")
    given = {
        "network": network,
        "setup": Setup(trainer, preparation.plans, f"2d_{network}"),
        "fold": "0",
        "checkpoint": BEST,
        "device": "cpu",
    }
    return Run(preparation, **{**given, **arguments})  # type: ignore[arg-type]


def a_request(**arguments: object) -> ExperimentRequest:
    given = {
        "datasets": ["isbi_cell"],
        "networks": ["unet"],
        "recipe": "paper",
        "folds": ["0"],
        "device": "cpu",
        "num_processes": 1,
    }
    return ExperimentRequest(**{**given, **arguments})  # type: ignore[arg-type]


def write(folder: Path, *names: str) -> None:
    """What nnU-Net leaves, in the order in which it was written, one second apart."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".pth":
            torch.save({"network_weights": {"a": torch.zeros(3)}}, path)
        elif path.name == "summary.json":
            for case in CASES:
                io.imsave(path.parent / f"{case}.png", PIXELS, check_contrast=False)
            entries = [{"prediction_file": f"{case}.png", "metrics": {}} for case in CASES]
            path.write_text(json.dumps({"metric_per_case": entries, "mean": {}, "foreground_mean": {}}))
        else:
            path.touch()
        os.utime(path, (1e9 + number, 1e9 + number))


def test_steps_run_in_turn_and_are_logged(tmp_path: Path) -> None:
    log = tmp_path / "new" / "steps.log"
    steps = [
        Step("say", python("print('one')")),
        Step("ask", python("import os; print(os.environ['X'])"), {"X": "two"}),
    ]
    outcome = run_steps("job", steps, log)
    assert (outcome.failure, outcome.ran) == (None, ("say", "ask"))
    assert re.search(r"\$ .*one.*\none\n\n\$ X=two .*\ntwo\n", log.read_text())


def test_step_that_fails_ends_the_job(tmp_path: Path) -> None:
    steps = [Step("train", python("raise SystemExit(3)")), Step("predict", python("print('never')"))]
    outcome = run_steps("job", steps, tmp_path / "log")
    assert (outcome.failure, outcome.ran) == ("train failed with status 3", ())
    assert "\nnever" not in (tmp_path / "log").read_text()


def test_command_that_is_not_there(tmp_path: Path) -> None:
    outcome = run_steps("job", [Step("train", ["no_such_command"])], tmp_path / "log")
    assert outcome.failure is not None
    assert outcome.failure.startswith("train can't be started")


def test_commands_find_our_trainers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path))
    run_steps("job", [Step("say", python("import os; print(os.environ['nnUNet_extTrainer'])"))], tmp_path / "log")
    from nnunet_pyconv.trainer_dir import TRAINER_DIR

    assert f"\n{TRAINER_DIR}{os.pathsep}{tmp_path}\n" in (tmp_path / "log").read_text()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["terminated", "interrupted"])
def test_interrupt_ends_all_that_runs(number: int, tmp_path: Path) -> None:
    """The command and its worker end with the job, and the lock is free again."""
    worker = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    job = f"""
from pathlib import Path
from nnunet_pyconv.errors import run_command
from nnunet_pyconv.nnunet_commands import Step, run_steps
run_command(lambda: run_steps("job", [Step("train", {python(code)!r})], Path("log")))
"""
    process = subprocess.Popen(python(job), cwd=tmp_path)
    pid = tmp_path / "pid"
    wait_until(lambda: process.poll() is not None or (pid.exists() and pid.read_text()))
    assert process.poll() is None
    assert run_steps("job", [], tmp_path / "log").failure == "is running already, in another process"
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    wait_until(lambda: not is_alive(int(pid.read_text())))  # until init has collected it
    assert run_steps("job", [], tmp_path / "log").failure is None


@pytest.fixture
def killed_job(tmp_path: Path, request: pytest.FixtureRequest) -> int:
    """Kill a job while its command runs, and return the number of the command's process."""
    sleeper = python("import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)")
    job = f"""
from pathlib import Path
from nnunet_pyconv import nnunet_commands
{request.param}
nnunet_commands.run_steps("job", [nnunet_commands.Step("train", {sleeper!r})], Path("log"))
"""
    process = subprocess.Popen(python(job), cwd=tmp_path)
    pid = tmp_path / "pid"
    wait_until(lambda: process.poll() is not None or (pid.exists() and pid.read_text()))
    assert process.poll() is None
    process.kill()
    process.wait()
    return int(pid.read_text())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
@pytest.mark.parametrize("killed_job", [""], indirect=True)
def test_command_ends_with_its_killed_job(killed_job: int, tmp_path: Path) -> None:
    wait_until(lambda: not psutil.pid_exists(killed_job))
    assert run_steps("job", [], tmp_path / "log").failure is None


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="locks")
@pytest.mark.parametrize(
    "killed_job",
    ["nnunet_commands.end_command_with_this_thread = lambda: None  # as where there is no such signal"],
    indirect=True,
)
def test_command_that_survived_its_job_keeps_the_lock(killed_job: int, tmp_path: Path) -> None:
    try:
        assert run_steps("job", [], tmp_path / "log").failure == "is running already, in another process"
    finally:
        os.kill(killed_job, signal.SIGKILL)


@pytest.mark.parametrize(
    ("files", "steps"),
    [
        ([], ["train, validate", "predict", "evaluate"]),
        ([BEST], ["continue training, validate --c", "predict", "evaluate"]),
        (["checkpoint_latest.pth"], ["continue training, validate --c", "predict", "evaluate"]),
        ([BEST, FINAL], ["validate --val", "predict", "evaluate"]),
        ([BEST, FINAL, VALIDATED], ["predict", "evaluate"]),
        ([BEST, FINAL, VALIDATED, "test/a.png"], ["predict", "evaluate"]),
        ([BEST, FINAL, VALIDATED, TESTED], []),
        ([TESTED, BEST, FINAL, VALIDATED], ["predict", "evaluate"]),
        ([VALIDATED, TESTED, BEST, FINAL], ["validate --val", "predict", "evaluate"]),
        ([VALIDATED, TESTED], ["train, validate", "predict", "evaluate"]),
    ],
    ids=["new", "best", "latest", "trained", "validated", "predicted", "done", "old-test", "old-both", "no-checkpoint"],
)
def test_what_is_left_of_a_run(files: list[str], steps: list[str], nnunet_folders: NnunetFolders) -> None:
    prepared(nnunet_folders)
    run = a_run()
    assert run.folder == nnunet_folders.results / DATASET / "T__PyConvUNetPaperPlans__2d_unet" / "fold_0"
    write(run.folder, *files)
    assert left_of(run) == steps
    assert run.is_done == (not steps)
    assert run.damages() == []


def left_of(run: Run) -> list[str]:
    return [
        f"{step.name} {step.command[-1]}" if step.command[-1] in ("--c", "--val") else step.name for step in run.steps()
    ]


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage", "said", "steps"),
    [
        (FINAL, empty, "checkpoint_final.pth is damaged", ["continue training, validate --c", "predict", "evaluate"]),
        (FINAL, cut, "checkpoint_final.pth is damaged", ["continue training, validate --c", "predict", "evaluate"]),
        (BEST, cut, "checkpoint_best.pth is damaged", ["train, validate", "predict", "evaluate"]),
        (BEST, Path.unlink, "checkpoint_best.pth is not there", ["train, validate", "predict", "evaluate"]),
        (VALIDATED, cut, "validation: summary.json can't be read", ["validate --val"]),
        ("validation/case_1.png", empty, "case_1.png is missing or can't be read", ["validate --val"]),
        (TESTED, empty, "test: summary.json can't be read", ["predict", "evaluate"]),
        ("test/case_0.png", Path.unlink, "case_0.png is missing or can't be read", ["predict", "evaluate"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_damaged_products_are_said_and_made_again(
    name: str,
    damage: Callable[[Path], None],
    said: str,
    steps: list[str],
    nnunet_folders: NnunetFolders,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared(nnunet_folders)
    run = a_run()
    write(run.folder, BEST, FINAL, VALIDATED, TESTED)
    times = (run.folder / name).stat().st_mtime_ns
    damage(run.folder / name)
    if (run.folder / name).exists():
        os.utime(run.folder / name, ns=(times, times))
    assert not run.is_done
    (found,) = run.damages()
    assert said in found
    ran: list[str] = []
    monkeypatch.setattr("nnunet_pyconv.nnunet_commands._run", lambda job, step, log: ran.append(step.name) or 0)
    run()
    assert f"{run}: {found}; it is made again" in capsys.readouterr().out
    assert ran == [step.partition(" --")[0] for step in steps]
    kept = {path.name for path in run.folder.glob("*.damaged")}
    assert (FINAL + ".damaged" in kept) == name.startswith("checkpoint")


def test_a_flipped_bit_in_a_checkpoint_is_found(nnunet_folders: NnunetFolders) -> None:
    prepared(nnunet_folders)
    run = a_run()
    write(run.folder, BEST, FINAL, VALIDATED, TESTED)
    torch.save({"a": torch.arange(1000.0)}, run.folder / BEST)
    flip(run.folder / BEST)
    assert not run.is_done


def test_summary_that_lacks_a_case(nnunet_folders: NnunetFolders) -> None:
    prepared(nnunet_folders)
    run = a_run()
    write(run.folder, BEST, FINAL, VALIDATED, TESTED)
    summary = run.folder / TESTED
    content = json.loads(summary.read_text())
    summary.write_text(json.dumps({**content, "metric_per_case": content["metric_per_case"][:1]}))
    (found,) = run.damages()
    assert "test: summary.json lacks 1 cases, case_1 among them" in found


def test_flags_of_a_training(nnunet_folders: NnunetFolders) -> None:
    step = next(a_run(device="cuda", num_gpus=2, seed=7).steps())
    assert str(step) == (
        "NNUNET_PYCONV_SEED=7 nnUNetv2_train 312 2d_unet 0 -tr T -p PyConvUNetPaperPlans -device cuda -num_gpus 2"
    )


def prepared(folders: NnunetFolders) -> Path:
    """A dataset as nnU-Net leaves it after planning and preprocessing, as far as reproduce looks at it."""
    raw, preprocessed = folders.raw / DATASET, folders.preprocessed / DATASET
    write(raw, *(f"{folder}/{case}.png" for folder in ("labelsTr", "labelsTs") for case in CASES))
    (raw / "dataset.json").write_text(json.dumps({"file_ending": ".png"}))
    data = preprocessed / "nnUNetPlans_2d"
    data.mkdir(parents=True)
    for case in CASES:
        (data / f"{case}.pkl").write_bytes(pickle.dumps({"spacing": [999, 1, 1]}))
        for name in (case, f"{case}_seg"):
            blosc2.asarray(PIXELS[None, None], urlpath=str(data / f"{name}.b2nd"), mode="w")
    plans = {"configurations": {"2d": {"data_identifier": "nnUNetPlans_2d"}}}
    for name in ("nnUNetPlans", "PyConvUNetPaperPlans"):
        (preprocessed / f"{name}.json").write_text(json.dumps(plans))
    (preprocessed / "splits_final.json").write_text(json.dumps([{"train": [], "val": CASES}] * 5))
    return preprocessed


PREPROCESS = "nnUNetv2_plan_and_preprocess -d 312 -c 2d --verify_dataset_integrity -npfp 1 -np 1"


@pytest.mark.parametrize(
    ("missing", "steps"),
    [
        (None, []),
        ("nnUNetPlans.json", [PREPROCESS, "nnunet_pyconv plan -d 312 --paper --overwrite"]),
        ("nnUNetPlans_2d/case_1.pkl", [PREPROCESS, "nnunet_pyconv plan -d 312 --paper --overwrite"]),
        ("nnUNetPlans_2d/case_0_seg.b2nd", [PREPROCESS, "nnunet_pyconv plan -d 312 --paper --overwrite"]),
        ("PyConvUNetPaperPlans.json", ["nnunet_pyconv plan -d 312 --paper"]),
    ],
    ids=["nothing", "plans", "a-case", "an-image", "our-plans"],
)
def test_what_is_left_of_a_preparation(missing: str | None, steps: list[str], nnunet_folders: NnunetFolders) -> None:
    preprocessed = prepared(nnunet_folders)
    if missing is not None:
        (preprocessed / missing).unlink()
    preparation = Preparation(DATASET, 1)
    assert [str(step) for step in preparation.steps()] == steps
    assert preparation.is_done == (missing is None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nnUNetPlans_2d/case_1.pkl", "nnUNetPlans_2d/"),
        ("nnUNetPlans_2d/case_0.b2nd", "nnUNetPlans_2d/"),
        ("nnUNetPlans.json", "nnUNetPlans.json"),
        ("PyConvUNetPaperPlans.json", "PyConvUNetPaperPlans.json"),
    ],
    ids=["pickle", "image", "plans", "our plans"],
)
@pytest.mark.parametrize("damage", [empty, cut], ids=["empty", "cut"])
def test_damaged_preparation(
    name: str,
    said: str,
    damage: Callable[[Path], None],
    nnunet_folders: NnunetFolders,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    preprocessed = prepared(nnunet_folders)
    damage(preprocessed / name)
    preparation = Preparation(DATASET, 1)
    assert not preparation.is_done
    ran: list[str] = []
    monkeypatch.setattr("nnunet_pyconv.nnunet_commands._run", lambda job, step, log: ran.append(step.name) or 0)
    preparation()
    assert Path(said).name in capsys.readouterr().out
    assert ran == (["plan the networks"] if name.startswith("PyConv") else ["plan and preprocess", "plan the networks"])
    assert (preprocessed / f"{name}.damaged").exists() == name.endswith(".json")


def test_target_spacing_has_plans_data_and_results_of_its_own(nnunet_folders: NnunetFolders) -> None:
    preprocessed = prepared(nnunet_folders)
    half = Preparation(DATASET, 1, target_spacing=(2.0, 2.5))
    assert [str(step) for step in half.steps()] == [
        f"{PREPROCESS} -overwrite_target_spacing 999 2 2.5 -overwrite_plans_name nnUNetPlans_spacing_2x2.5",
        "nnunet_pyconv plan -d 312 --paper -p nnUNetPlans_spacing_2x2.5 -o PyConvUNetPaperPlans_spacing_2x2.5 "
        "--overwrite",
    ]
    for name in ("nnUNetPlans", "PyConvUNetPaperPlans"):
        (preprocessed / f"{name}.json").rename(preprocessed / f"{name}_spacing_2x2.5.json")
    assert half.is_done
    assert not Preparation(DATASET, 1).is_done
    run = a_run(preparation=half)
    assert run.folder.parent.name == "T__PyConvUNetPaperPlans_spacing_2x2.5__2d_unet"
    assert all("-p PyConvUNetPaperPlans_spacing_2x2.5 " in str(step) for step in list(run.steps())[:2])


def test_run_of_a_dataset_that_is_not_prepared(nnunet_folders: NnunetFolders) -> None:
    outcome = a_run()()
    assert outcome.failure == "the dataset isn't prepared"
    assert outcome.log == nnunet_folders.preprocessed / DATASET / "reproduce.log"


def test_dry_run(nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(nnunet_folders)
    done = a_run(trainer="nnUNetTrainerPyConvPaper")
    write(done.folder, BEST, FINAL, VALIDATED, TESTED)
    before = sorted(nnunet_folders.raw.parent.rglob("*"))
    main(["reproduce", "--datasets", "isbi_cell", "--networks", "unet", "fcn8s", "-device", "cpu", "--dry_run"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'export nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)"'
    assert lines[1:4] == [f"# {DATASET}: done", f"# {DATASET} unet fold 0: done", f"# {DATASET} fcn8s fold 0"]
    steps = ["nnUNetv2_train", "nnUNetv2_predict", "nnUNetv2_evaluate_folder"]
    assert [line.split()[0] for line in lines[4:7]] == steps
    assert "-tr nnUNetTrainerPyConvPaper" in lines[4]
    assert lines[7] == "# reports"
    assert lines[8].startswith(
        "nnunet_pyconv report -d 312 --models nnUNetTrainerPyConvPaper__PyConvUNetPaperPlans__2d"
    )
    assert len(lines) == 9
    assert sorted(nnunet_folders.raw.parent.rglob("*")) == before


def test_dry_run_before_anything_is_there(nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]) -> None:
    main(["reproduce", "--datasets", "liver", "--networks", "unet", "-device", "cpu", "--dry_run"])
    commands = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    assert commands[1] == "nnunet_pyconv convert liver -i SRC --protocol paper"
    assert [" ".join(command.split()[:2]) for command in commands[2:]] == [
        "nnUNetv2_plan_and_preprocess -d",
        "nnunet_pyconv plan",
        "nnUNetv2_train 314",
        "nnUNetv2_predict -d",
        "nnUNetv2_evaluate_folder " + str(nnunet_folders.raw / "Dataset314_Liver" / "labelsTs"),
        "nnunet_pyconv report",
    ]


def test_only_the_papers_fold_is_for_the_papers_split(
    nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["reproduce", "--datasets", "liver", "-f", "0", "all", "-device", "cpu", "--dry_run"])
    assert "nnunet_pyconv convert liver -i SRC --protocol clean\n" in capsys.readouterr().out


def test_the_seventh_network_is_trained_on_request_only(
    nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(nnunet_folders)
    arguments = ["reproduce", "--datasets", "isbi_cell", "-device", "cpu", "--dry_run"]
    trained = []
    for networks in ([], ["--networks", "multires_unet"]):
        main([*arguments, *networks])
        trained.append(re.findall(r"nnUNetv2_train 312 2d_(\w+) 0 ", capsys.readouterr().out))
    assert trained == [
        ["unet", "unet_plus_plus", "resnet34_unet", "attention_unet", "fcn8s", "pyconv_unet"],
        ["multires_unet"],
    ]


def test_recipe_of_nnunet(nnunet_folders: NnunetFolders) -> None:
    prepared(nnunet_folders)
    request = a_request(recipe="nnunet", folds=["0", "3"])
    train, predict, _ = next(iter(runs_of(request, preparations_of(request)))).steps()
    assert "-tr nnUNetTrainer_50passes -p PyConvUNetPaperPlans" in str(train)
    assert "-chk checkpoint_final.pth" in str(predict)
    assert [run.fold for run in runs_of(request, preparations_of(request))] == ["0", "3"]


@pytest.mark.parametrize(
    ("trainer", "checkpoint"),
    [
        ("nnUNetTrainerPyConvPaper_5epochs", "checkpoint_best.pth"),
        ("nnUNetTrainerPyConv", "checkpoint_final.pth"),
        ("nnUNetTrainer", "checkpoint_final.pth"),
    ],
)
def test_checkpoint_is_that_of_the_trainer(trainer: str, checkpoint: str, nnunet_folders: NnunetFolders) -> None:
    prepared(nnunet_folders)
    (run,) = runs_of(a_request(trainer=trainer), preparations_of(a_request()))
    assert run.checkpoint == checkpoint


def test_trainers_that_are_not_there_or_take_no_seed(nnunet_folders: NnunetFolders) -> None:
    with pytest.raises(InputError, match="nnU-Net finds no trainer NoSuch, neither among its own"):
        runs_of(a_request(trainer="NoSuch"), [])
    with pytest.raises(InputError, match="--seed 1: nnUNetTrainer takes no seed"):
        runs_of(a_request(trainer="nnUNetTrainer", seed=1), [])


@pytest.mark.parametrize("folds", [["1"], ["0", "all"]])
def test_folds_that_would_train_on_test_images(folds: list[str], nnunet_folders: NnunetFolders) -> None:
    """The paper's split is fold 0; nnU-Net makes others at random of all images, those that test among them."""
    prepared(nnunet_folders)
    splits = nnunet_folders.raw / DATASET / "splits_final.json"
    splits.write_text('[{"train": ["case_0"], "val": ["case_1"]}]')
    datasets = preparations_of(a_request())
    assert len(runs_of(a_request(), datasets)) == 1
    with pytest.raises(InputError, match=f"-f {folds[-1]}: .*--protocol paper.*Give -f 0"):
        runs_of(a_request(folds=folds), datasets)
    for damaged in ("[", "[]", "{}"):
        splits.write_text(damaged)
        with pytest.raises(InputError, match=r"splits_final.json is no list of folds"):
            runs_of(a_request(), datasets)


def test_dataset_that_was_converted_again(nnunet_folders: NnunetFolders) -> None:
    """Neither its preprocessed data nor what was trained on them are those of the dataset."""
    preprocessed = prepared(nnunet_folders)
    original = nnunet_folders.raw / DATASET / "dataset.json"
    model = a_run(trainer="nnUNetTrainerPyConvPaper").folder.parent
    write(model, "dataset.json")
    for copy in (preprocessed / "dataset.json", model / "dataset.json"):
        copy.write_text(original.read_text())
    assert len(runs_of(a_request(), preparations_of(a_request()))) == 1
    original.write_text(json.dumps({"file_ending": ".png", "labels": {"background": 0, "membrane": 1}}))
    with pytest.raises(InputError, match=f"{preprocessed} was made from an earlier conversion"):
        preparations_of(a_request())
    (preprocessed / "dataset.json").write_text(original.read_text())
    with pytest.raises(InputError, match=f"{model} was made from an earlier conversion"):
        runs_of(a_request(), preparations_of(a_request()))
    (model / "dataset.json").write_text("{")
    with pytest.raises(InputError, match=f"{model / 'dataset.json'} is damaged"):
        runs_of(a_request(), preparations_of(a_request()))


def test_one_failed_run_leaves_the_others(
    nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(nnunet_folders)

    def steps(run: Run) -> list[Step]:
        if run.network == "unet":
            return [Step("train, validate", python("print('out of memory'); raise SystemExit(1)"))]
        write(run.folder, BEST, FINAL, VALIDATED, TESTED)
        return []

    monkeypatch.setattr(Run, "steps", steps)
    arguments = ["reproduce", "--datasets", "isbi_cell", "--networks", "unet", "fcn8s", "-device", "cpu"]
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 1
    printed = capsys.readouterr()
    log = a_run(trainer="nnUNetTrainerPyConvPaper").folder / "reproduce.log"
    assert f"  {DATASET} unet fold 0: train, validate failed with status 1\n    log: {log}" in printed.err
    assert "out of memory" in log.read_text()
    assert "Done: 1 of 2 runs" in printed.out
    assert "  report: " in printed.err  # of the empty files of the other run


@pytest.mark.slow
def test_dataset_that_nnunet_refuses(nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]) -> None:
    """nnU-Net's own command fails: preparation and run are listed."""
    prepared(nnunet_folders)
    (nnunet_folders.preprocessed / DATASET / "nnUNetPlans.json").unlink()
    with pytest.raises(SystemExit):
        main(["reproduce", "--datasets", "isbi_cell", "--networks", "unet", "-device", "cpu", "-np", "1"])
    err = capsys.readouterr().err
    assert f"  {DATASET}: plan and preprocess failed with status 1" in err
    assert f"  {DATASET} unet fold 0: the dataset isn't prepared" in err
    assert "Traceback" in (nnunet_folders.preprocessed / DATASET / "reproduce.log").read_text()


def test_another_seed_than_before(nnunet_folders: NnunetFolders) -> None:
    prepared(nnunet_folders)
    run = a_run(trainer="nnUNetTrainerPyConvPaper")
    write(run.folder, "debug.json", "checkpoint_latest.pth")
    (run.folder / "debug.json").write_text('{"seed": "3"}')
    for seed in (3, None):
        assert len(runs_of(a_request(seed=seed), [run.preparation])) == 1
    (run.folder / "debug.json").write_text('{"seed": "None"}')
    with pytest.raises(InputError, match="unet fold 0 was trained without a seed, and now it is --seed 3"):
        runs_of(a_request(seed=3), [run.preparation])
    (run.folder / "debug.json").write_text('{"seed": "3"}')
    with pytest.raises(InputError, match="unet fold 0 was trained with --seed 3, and now it is --seed 4"):
        runs_of(a_request(seed=4), [run.preparation])
    (run.folder / "debug.json").write_text('{"seed": ')
    with pytest.raises(InputError, match=r"debug.json.* is damaged .*remove this file"):
        runs_of(a_request(seed=3), [run.preparation])


def test_seed_of_a_training_that_goes_on(nnunet_folders: NnunetFolders) -> None:
    """nnU-Net writes debug.json anew; and what died before its first checkpoint begins anew, with any seed."""
    prepared(nnunet_folders)
    run = a_run(trainer="nnUNetTrainerPyConvPaper")
    write(run.folder, "debug.json")
    (run.folder / "debug.json").write_text('{"seed": "3"}')
    assert len(runs_of(a_request(seed=4), [run.preparation])) == 1
    assert str(next(run.steps())).startswith("nnUNetv2_train")
    write(run.folder, "checkpoint_latest.pth")
    assert str(next(run.steps())).startswith("NNUNET_PYCONV_SEED=3 nnUNetv2_train")


def test_damaged_plans_are_made_again_and_a_damaged_dataset_is_an_error(nnunet_folders: NnunetFolders) -> None:
    prepared(nnunet_folders)
    (dataset,) = preparations_of(a_request())
    assert dataset.is_done
    (dataset.raw / "dataset.json").rename(dataset.raw / "gone")
    with pytest.raises(InputError, match=r"is not a dataset of nnU-Net .*nnunet_pyconv convert"):
        list(Preparation(DATASET, 1).steps())
    (dataset.preprocessed / "nnUNetPlans.json").write_text("{")
    assert [step.name for step in dataset.steps()] == ["plan and preprocess", "plan the networks"]


def test_reports_on_what_is_done(nnunet_folders: NnunetFolders) -> None:
    """Their predictions are named like their models, so that the paper's figures stand beside them."""
    both = [a_run(), a_run(network="fcn8s")]
    unet, fcn8s = (f"T__PyConvUNetPaperPlans__2d_{name}" for name in ("unet", "fcn8s"))
    (report,) = report_requests(both, Path("reports"))
    assert report.command() == (
        f"nnunet_pyconv report -d 312 --models {unet} {fcn8s} -f 0 "
        f"--predictions {unet}={both[0].predictions} {fcn8s}={both[1].predictions} -np 1 "
        "-o reports/report_312_T_fold_0 --overwrite"
    )


def test_reports_leave_out_what_is_not_done(nnunet_folders: NnunetFolders) -> None:
    other = Preparation("Dataset313_KaggleLung", 1)
    folds = ("0", "1", "2", "all")
    runs = [*(a_run(fold=fold) for fold in folds), a_run(network="fcn8s", fold="1")]
    reports = report_requests([*runs, a_run(preparation=other, network="fcn8s")], Path())
    chosen = []
    for report in reports:
        assert report.models is not None
        configurations = [setup.configuration for setup in report.models.setups]
        chosen.append((*report.datasets, configurations, report.models.folds))
    assert chosen == [
        ("312", ["2d_unet"], ["0", "2"]),
        ("312", ["2d_unet", "2d_fcn8s"], ["1"]),
        ("312", ["2d_unet"], ["all"]),
        ("313", ["2d_fcn8s"], ["0"]),
    ]
    unet = "T__PyConvUNetPaperPlans__2d_unet"
    assert list(reports[0].predictions) == [f"{unet}/fold_0", f"{unet}/fold_2"]


@pytest.mark.parametrize(
    ("arguments", "trainer"),
    [
        ({}, "nnUNetTrainer_50passes"),
        ({"trainer": "nnUNetTrainerPyConvPaper_5epochs"}, "nnUNetTrainer_5passes"),
        ({"recipe": "nnunet"}, "nnUNetTrainer_50passes"),
        ({"trainer": "nnUNetTrainer"}, "nnUNetTrainer"),
    ],
    ids=["paper's recipe", "shortened", "nnU-Net's recipe", "given"],
)
def test_stock_network_has_the_recipe_of_nnunet(
    arguments: dict[str, str], trainer: str, nnunet_folders: NnunetFolders
) -> None:
    prepared(nnunet_folders)
    request = a_request(networks=["unet", "stock"], **arguments)
    unet, stock = runs_of(request, preparations_of(request))
    assert stock.setup == Setup(trainer, "PyConvUNetPaperPlans", "2d")
    assert (unet.setup.configuration, stock.checkpoint) == ("2d_unet", FINAL)
    with pytest.raises(InputError, match="--networks stock is .* -tr nnUNetTrainerPyConv is not"):
        runs_of(a_request(networks=["stock"], trainer="nnUNetTrainerPyConv"), [])


def test_both_protocols_of_a_dataset(nnunet_folders: NnunetFolders) -> None:
    paper, clean = (nnunet_folders.raw / name for name in ("Dataset314_Liver", "Dataset414_Liver"))
    write(paper, "splits_final.json")
    request = a_request(datasets=["liver"], protocol="clean")
    (preparation,) = preparations_of(request)
    assert preparation.dataset == "Dataset414_Liver"  # the ID of the other is taken
    with pytest.raises(InputError, match="nnunet_pyconv convert liver -i SRC --protocol clean -d 414"):
        reproduce(request, "local", {})
    clean.mkdir()
    with pytest.raises(InputError, match=r"Dataset314_Liver \(--protocol paper\) and Dataset414_Liver .*choose with"):
        preparations_of(a_request(datasets=["liver"]))
    for protocol, folder in (("paper", paper), ("clean", clean)):
        (preparation,) = preparations_of(a_request(datasets=["liver"], protocol=protocol))
        assert preparation.raw == folder


def test_packed_runs_go_on_elsewhere(
    nnunet_folders: NnunetFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(nnunet_folders)
    run, started = a_run(), a_run(network="fcn8s")
    write(run.folder, BEST, FINAL, VALIDATED, TESTED, ".hidden/file", "checkpoint_latest.pth.partial")
    write(run.folder.parent, "plans.json", "dataset.json")
    write(started.folder, "checkpoint_latest.pth")
    file = tmp_path / "runs.tar"
    assert pack([run, started, a_run(network="unet_plus_plus")], file) == 2
    with pytest.raises(InputError, match="runs.tar exists already"):
        pack([run], file)
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "elsewhere"))
    folds = unpack(file)
    assert [Path(fold).parent.name.rpartition("__")[2] for fold in folds] == ["2d_fcn8s", "2d_unet"]
    assert run.folder.is_relative_to(tmp_path / "elsewhere")
    assert run.is_done  # times too are as they were
    assert left_of(started)[0] == "continue training, validate --c"
    names = {path.name for path in run.folder.parent.rglob("*")}
    assert {"plans.json", "dataset.json"} <= names
    assert not names & {".hidden", "checkpoint_latest.pth.partial"}
    assert [path for path in (tmp_path / "elsewhere").iterdir() if path.name.startswith(".")] == []
    with pytest.raises(InputError, match="fold_0 exists already; remove it"):
        unpack(file)


def test_links_are_packed_as_files(
    nnunet_folders: NnunetFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run()
    write(run.folder, BEST)
    (run.folder / FINAL).symlink_to(run.folder / BEST)
    (run.folder / "debug.json").hardlink_to(run.folder / BEST)
    pack([run], tmp_path / "runs.tar")
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "elsewhere"))
    unpack(tmp_path / "runs.tar")
    assert {path.name: path.is_symlink() for path in run.folder.iterdir()} == dict.fromkeys(
        (BEST, FINAL, "debug.json"), False
    )


def test_folds_of_other_plans_are_refused(
    nnunet_folders: NnunetFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run()
    write(run.folder, BEST)
    (run.folder.parent / "plans.json").write_text('{"plans_name": "theirs"}')
    pack([run], tmp_path / "runs.tar")
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "elsewhere"))
    other = a_run(fold="1")
    write(other.folder, BEST)
    (other.folder.parent / "plans.json").write_text('{"plans_name": "ours"}')
    with pytest.raises(InputError, match=r"plans\.json is another than .*so its folds are of another model"):
        unpack(tmp_path / "runs.tar")
    assert not run.folder.exists()
    (other.folder.parent / "plans.json").write_text("{")
    with pytest.raises(InputError, match=r"--unpack .*plans\.json"):
        unpack(tmp_path / "runs.tar")
    assert not run.folder.exists()
    (other.folder.parent / "plans.json").write_text('{ "plans_name": "theirs" }')
    unpack(tmp_path / "runs.tar")
    assert run.folder.exists()


def member(name: str, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


MODEL = f"{DATASET}/T__P__2d"


@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/passwd"),
        member(f"../{MODEL}/fold_0/a"),
        member(f"{MODEL}/fold_0/../../../../a"),
        member(f"{MODEL}/fold_0/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member(f"{MODEL}/fold_0/link", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
        member(f"{MODEL}/fold_0/pipe", type=tarfile.FIFOTYPE),
        member(f"{MODEL}/elsewhere/a"),
        member("submitit/a/fold_0/b"),
        member(f"{DATASET}/T__P/fold_0/a"),
    ],
    ids=lambda info: f"{info.name} {info.type.decode()}",
)
def test_archives_that_are_not_ours(bad: tarfile.TarInfo, nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    file = tmp_path / "bad.tar"
    with tarfile.open(file, "w") as archive:
        archive.addfile(member(f"{MODEL}/fold_0/debug.json"))
        archive.addfile(bad)
    with pytest.raises(InputError, match="which is no file of a run; expected a file of --pack"):
        unpack(file)
    assert list(nnunet_folders.results.iterdir()) == []


def test_archives_that_are_damaged(nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    run = a_run()
    write(run.folder, BEST)
    with pytest.raises(InputError, match="--unpack .*none.tar: no such file"):
        unpack(tmp_path / "none.tar")
    file = tmp_path / "runs.tar"
    pack([run], file)
    shutil.rmtree(nnunet_folders.results / DATASET)
    file.write_bytes(file.read_bytes()[:700])
    with pytest.raises(InputError, match="is damaged or not a file of --pack"):
        unpack(file)
    with pytest.raises(InputError, match="--pack .*: none of these runs has started"):
        pack([run], tmp_path / "new.tar")
    assert list(nnunet_folders.results.iterdir()) == []


def test_dataset_that_is_not_converted(nnunet_folders: NnunetFolders) -> None:
    with pytest.raises(
        InputError, match="Liver does not exist; convert the dataset first: nnunet_pyconv convert liver "
    ):
        reproduce(a_request(datasets=["liver"]), "local", {})
    for name in ("Dataset314_Liver", "Dataset007_Liver"):
        (nnunet_folders.raw / name).mkdir()
    with pytest.raises(InputError, match="has Dataset007_Liver .* and Dataset314_Liver .*; expected one"):
        preparations_of(a_request(datasets=["liver"]))
    (nnunet_folders.raw / "Dataset314_Liver").rmdir()
    (dataset,) = preparations_of(a_request(datasets=["liver"]))
    assert dataset.dataset_id == "7"


def test_folders_of_nnunet_unset(nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_results")
    with pytest.raises(InputError, match="nnUNet_results is not set"):
        preparations_of(a_request())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seed", "-1"], "--seed -1: expected a whole number"),
        (["-num_gpus", "0"], "argument -num_gpus: '0' is not a positive number"),
        (["-np", "0"], "argument -np: '0' is not a positive number"),
        (["-overwrite_target_spacing", "2", "0"], "-overwrite_target_spacing 2 0: expected two sizes"),
        (["-num_gpus", "2"], "-num_gpus 2 is for -device cuda, and this is cpu"),
        (["--slurm", "partition"], "--slurm partition: expected KEY=VALUE"),
        (["--slurm", "partition=gpu"], "--slurm partition=gpu is for --executor slurm"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_bad_flags(
    flags: list[str], message: str, nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(nnunet_folders)
    with pytest.raises(SystemExit) as exit_:
        main(["reproduce", "--datasets", "isbi_cell", "-device", "cpu", *flags])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cluster whose sbatch takes every job and runs none; the folder of submitit."""
    for name, text in (("sbatch", "echo Submitted batch job 41"), ("srun", "true")):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\n{text}\n")
        command.chmod(command.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "submitit"


@pytest.mark.skipif(os.name != "posix", reason="shell scripts")
def test_submission_to_slurm(slurm: Path, nnunet_folders: NnunetFolders) -> None:
    import submitit

    executor = Executor("slurm", slurm, {"partition": "gpu", "time": 60})
    first = executor.submit(Preparation(DATASET, 1), 0, None)
    script = next(slurm.glob("*.sh")).read_text()
    assert "#SBATCH --dependency=singleton\n" in script
    assert "gpus-per-node" not in script

    second = executor.submit(a_run(num_gpus=2), 2, first)
    script = (slurm / f"{second.job_id}_submission.sh").read_text()
    for line in ("dependency=afterany:41,singleton", "gpus-per-node=2", "partition=gpu", "time=60", "cpus-per-task=12"):
        assert f"#SBATCH --{line}\n" in script
    assert f"#SBATCH --job-name=nnunet_pyconv_{DATASET}_unet_fold_0\n" in script
    submission = submitit.core.utils.DelayedSubmission.load(second.paths.submitted_pickle)
    assert submission.function.job == a_run(num_gpus=2)
    assert submission.function.checkpoint().function.job == a_run(num_gpus=2)  # queued again at the time limit


def test_slurm_that_is_not_there_and_unknown_parameters(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="--executor slurm: .*colour"):
        Executor("slurm", slurm, {"colour": "red"})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="--executor slurm: .*srun"):
        Executor("slurm", slurm, {})


def test_submitit_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r'submitit is not installed.*pip install "\.\[slurm\]"'):
        Executor("local", tmp_path, {})
