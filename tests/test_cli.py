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


def test_help_imports_nothing_heavy() -> None:
    helps = [[], *([name] for name in COMMANDS), ["convert", "folder"], *(["benchmark", name] for name in SUBJECTS)]
    assert heavy_imports(helps, "torch", "numpy", "nnunetv2.paths") == []


def test_help_of_a_converter_imports_what_reads_its_files_alone() -> None:
    heavy = ("torch", "SimpleITK", "nnunetv2.paths", "sklearn", "matplotlib")
    assert heavy_imports([["convert", "liver"]], *heavy) == []


def heavy_imports(commands: list[list[str]], *modules: str) -> list[str]:
    """Ask for the help of commands, all in one process; which of the modules the first that imports one needs."""
    code = f"""if True:
        import contextlib, io, sys
        from nnunet_pyconv.cli import main
        for command in {commands}:
            with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as printed:
                main([*command, "-h"])
            assert "usage: nnunet_pyconv" in printed.getvalue()
            if heavy := set({modules}) & sys.modules.keys():
                print(*command, *heavy)
                break
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_names_are_those_of_the_classes_and_tables() -> None:
    from nnunet_pyconv import names, paper
    from nnunet_pyconv.nn.backends import available_backends
    from nnunet_pyconv.planning import PLANNERS

    assert tuple(PLANNERS) == names.PLANNER_NAMES
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


def test_bad_input_is_one_line_and_status_2(
    nnunet_folders: NnunetFolders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["convert", "isbi_cell", "-i", str(tmp_path / "nowhere")])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: source .*nowhere does not exist; give the folder .* with -i\n", error)


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
