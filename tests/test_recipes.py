"""The recipes in docs/extend work: their files are written and their lines added to a copy, and the last step runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TITLED = re.compile(r'^( *)```(?:python|text) title="([^"]+)"\n(.*?)^ *```', re.MULTILINE | re.DOTALL)
RECIPES = ["dataset", "network"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, arranged as it is installed."""
    copy = tmp_path / "nnunet_pyconv"
    shutil.copytree(ROOT / "nnunet_pyconv", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dataset_conversion", "plans"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe(recipe: str, package: Path, tmp_path: Path) -> None:
    blocks = [
        (title, textwrap.dedent(code))
        for _, title, code in TITLED.findall((ROOT / "docs" / "extend" / f"{recipe}.md").read_text("utf-8"))
    ]
    *changes, (last, trial) = blocks
    assert last == "try it"
    for title, code in changes:
        path, _, place = title.partition(", end of ")
        file = package.parent / path if path.startswith("nnunet_pyconv/") else package / path
        if place:
            add_entry(file, place, code)
        else:
            assert not file.exists()
            file.write_text(code, "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", trial], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def add_entry(file: Path, name: str, line: str) -> None:
    """Add a line at the end of a tuple, list or dictionary of several lines."""
    text = file.read_text("utf-8")
    start = re.search(rf"^{name}\b[^\n]*[(\[{{]\n", text, re.MULTILINE)
    assert start is not None
    end = re.compile(r"^[)\]}]", re.MULTILINE).search(text, start.end())
    assert end is not None
    file.write_text(text[: end.start()] + textwrap.indent(line, "    ") + text[end.start() :], "utf-8")
