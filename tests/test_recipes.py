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
RECIPES = sorted(page.stem for page in (ROOT / "docs" / "extend").glob("*.md") if page.stem != "index")


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
        path, _, place = title.partition(", ")
        change(package.parent / path if path.startswith("nnunet_pyconv/") else package / path, place, code)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", trial], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def change(file: Path, place: str, code: str) -> None:
    """Make a change as its title says: a new file, or lines at a place of an existing one."""
    if not place:
        assert not file.exists()
        file.write_text(code, "utf-8")
        return
    text = file.read_text("utf-8")
    if place == "changed":
        text = with_lines_changed(text, code)
    elif place.startswith("end of "):
        text = with_entry(text, place.removeprefix("end of "), code)
    else:
        how, _, start = place.partition(" of " if place.startswith("instead") else " ")
        text = with_lines_at(text, how, start, code)
    file.write_text(text, "utf-8")


def with_entry(text: str, name: str, line: str) -> str:
    """Add a line at the end of a tuple, list or dictionary of several lines."""
    start = re.search(rf"^{name}\b[^\n]*[(\[{{]\n", text, re.MULTILINE)
    assert start is not None
    end = re.compile(r"^[)\]}]", re.MULTILINE).search(text, start.end())
    assert end is not None
    return text[: end.start()] + textwrap.indent(line, "    ") + text[end.start() :]


def with_lines_changed(text: str, code: str) -> str:
    """Replace what each line assigns anew; a line that assigns nothing is an import, and is added to the others."""
    for line in code.splitlines():
        name, assigned, _ = line.partition(" = ")
        pattern = rf"^{re.escape(name)} = .*$" if assigned else r"^(from nnunet_pyconv.*import [^(]*)$"
        text, count = re.subn(pattern, line if assigned else rf"\1\n{line}", text, count=1, flags=re.MULTILINE)
        assert count == 1, line
    return text


def with_lines_at(text: str, how: str, start: str, code: str) -> str:
    """Add lines before the one that starts so, but for quotation marks, or put them in its place ("instead")."""
    lines = text.splitlines(keepends=True)
    (number,) = [n for n, line in enumerate(lines) if line.replace('"', "").strip().startswith(start)]
    indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
    lines[number : number + (how == "instead")] = textwrap.indent(code, indent)
    return "".join(lines)
