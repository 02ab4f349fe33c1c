"""The documentation says what is so: its commands parse, its names and files exist, its Python runs."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from nnunet_pyconv.cli import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```(\w+)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [textwrap.dedent(text) for found, text in BLOCK.findall(page.read_text("utf-8")) if found == language]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command in a page's shell blocks, without variables, redirections and comments."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\||;", line):
                words = shlex.split(part, comments=True)
                while words and "=" in words[0]:
                    del words[0]
                if words:
                    yield words


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_parse(page: Path) -> None:
    scripts = {script.name for script in importlib.metadata.entry_points(group="console_scripts")}
    for words in commands(page):
        if words[0] == "nnunet_pyconv" and "-h" not in words:
            parse(words[1:])
        elif words[0].startswith("nnUNetv2_"):
            assert words[0] in scripts, words


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_names_and_files_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for name in set(re.findall(r"`(nnunet_pyconv(?:\.\w+)+)`", text)) | set(
        re.findall(r"^::: (\S+)", text, re.MULTILINE)
    ):
        assert find(name) is not None, name
    for path in re.findall(r"`((?:nnunet_pyconv|dataset_conversion|tests|docs|plans)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link


def find(dotted: str) -> object:
    """Import a module, or the attribute of one; None where there is neither."""
    parts = re.sub("^dataset_conversion", "nnunet_pyconv.dataset_conversion", dotted).split(".")  # where it installs
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute)
        return found
    return None


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python") and "extend" not in page.parts], ids=ids
)
def test_python_runs(page: Path, tmp_path: Path) -> None:
    """Beside a folder SRC in the layout of the lung data set."""
    for folder in ("2d_images", "2d_masks"):
        (tmp_path / "SRC" / folder).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "SRC" / folder / "ID_0000_Z_0142.tif", np.full((8, 8), -600, np.int16))
    code = "\n".join(blocks(page, "python"))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for comment in re.findall(r"print\(.*\)  # (.*)", code):
        assert comment in done.stdout


@pytest.mark.long
@pytest.mark.skipif(shutil.which("bash") is None, reason="the tutorial's commands are those of a shell")
def test_tutorial(tmp_path: Path) -> None:
    """All its commands but pip's, one after another, as on a machine without nnU-Net's folders."""
    lines = "\n".join(blocks(ROOT / "docs" / "tutorial.md", "bash")).splitlines()
    script = "\n".join(line for line in lines if not line.startswith("pip "))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads((tmp_path / "predictions" / "summary.json").read_text())["foreground_mean"]["Dice"] > 0.8
    assert (tmp_path / "report_312" / "report.html").is_file()


def test_the_figure_is_what_its_script_draws() -> None:
    sys.path.insert(0, str(ROOT / "docs" / "figures"))
    try:
        pyramid = importlib.import_module("pyramid")
    finally:
        del sys.path[0]
    assert pyramid.FILE.read_text("utf-8") == pyramid.draw()


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert re.search(rf"[: ]{re.escape(str(page.relative_to(ROOT / 'docs')))}$", navigation, re.MULTILINE), page
