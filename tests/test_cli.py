from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import NnunetFolders

from nnunet_pyconv import __version__
from nnunet_pyconv.cli import COMMANDS, main, parse
from nnunet_pyconv.cli.benchmark import SUBJECTS
from nnunet_pyconv.dataset_conversion.registry import CONVERTERS
from nnunet_pyconv.errors import run_command
from nnunet_pyconv.trainer_dir import TRAINER_DIR

ROOT = Path(__file__).parents[1]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nnunet_pyconv", *arguments],
        env={**os.environ, **environment},
        cwd=Path.home(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["-h"],
        *([name, "-h"] for name in COMMANDS),
        *(["convert", name, "-h"] for name in ("folder", *CONVERTERS)),
        *(["benchmark", name, "-h"] for name in SUBJECTS),
    ],
    ids=" ".join,
)
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0
    assert " ".join(["usage: nnunet_pyconv", *arguments[:-1]]) in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["-h"],
        *([name, "-h"] for name in COMMANDS),
        ["convert", "folder", "-h"],
        *(["benchmark", name, "-h"] for name in SUBJECTS),
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert not {"torch", "numpy", "nnunetv2.paths"} & imported_by(*arguments)


def test_help_of_a_converter_imports_what_reads_its_files_alone() -> None:
    assert not {"torch", "SimpleITK", "nnunetv2.paths", "sklearn", "matplotlib"} & imported_by("convert", "liver", "-h")


def imported_by(*arguments: str) -> set[str]:
    code = (
        "from nnunet_pyconv.cli import main; import atexit, sys; atexit.register(lambda: print(*sys.modules)); main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_names_are_those_of_the_classes_and_tables() -> None:
    from nnunet_pyconv import names, paper
    from nnunet_pyconv.nn.backends import available_backends
    from nnunet_pyconv.planning import PLANNERS

    assert tuple(PLANNERS) == names.PLANNERS
    assert set(names.BACKENDS) == set(available_backends())
    assert {dataset.key for dataset in paper.DATASETS} <= set(CONVERTERS)


def test_a_command_is_kept_for_reports() -> None:
    assert parse(["trainer_dir"]).argv == ["nnunet_pyconv", "trainer_dir"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert __version__ in capsys.readouterr().out


def test_trainer_dir(capsys: pytest.CaptureFixture[str]) -> None:
    main(["trainer_dir"])
    assert capsys.readouterr().out == f"{TRAINER_DIR}\n"
    assert sorted(path.name for path in TRAINER_DIR.glob("*.py")) == [
        "__init__.py",
        "nnunet_pyconv_trainers.py",
        "nnunet_pyconv_variants.py",
    ]


def test_bad_input_is_one_line_and_status_2(nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    done = run("convert", "isbi_cell", "-i", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "Warning" not in line and "warnings.warn" not in line]
    assert re.fullmatch(r"error: source .*nowhere does not exist; give the folder .* with -i", line)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_disk_that_cannot_be_written_is_one_line_and_status_2(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    with pytest.raises(SystemExit) as exit_:
        run_command(command)
    assert exit_.value.code == 2
    assert re.fullmatch(r"error: .*somewhere'; make room there .*\n", capsys.readouterr().err)


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(FileNotFoundError):
        run_command(lambda: print(Path("nowhere").read_text()))


def test_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["trane"])
    assert exit_.value.code == 2
    err = capsys.readouterr().err
    assert all(name in err for name in COMMANDS)


@pytest.mark.parametrize("number", ["0", "-3"])
def test_number_of_processes(
    number: str, nnunet_folders: NnunetFolders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["convert", "isbi_cell", "-i", str(tmp_path), "-np", number])
    assert exit_.value.code == 2
    assert f"-np: '{number}' is not a positive number" in capsys.readouterr().err


def test_device_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.backends.mps.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(SystemExit) as exit_:
        main(["demo", "-device", "mps", "-o", str(tmp_path / "demo")])
    assert exit_.value.code == 2
    assert re.search(r"-device mps: torch .* sees no such device here, only .*cpu", capsys.readouterr().err)
    assert not (tmp_path / "demo").exists()


def test_ci_runs_what_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text()
    _, _, commands = (ROOT / ".ci" / "run").read_text().partition('source "$environment/bin/activate"\n')
    assert len(commands.splitlines()) == 5
    assert all(f"\n{command}\n" in readme for command in commands.splitlines())


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert "docs/demo.png" in links
    assert [link for link in links if not (ROOT / link).exists()] == []
