"""Hooks of mkdocs: the page of the commands is what their --help says, and the site takes a model's page along."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nnunet_pyconv.cli import COMMANDS, parse
from nnunet_pyconv.cli.benchmark import SUBJECTS
from nnunet_pyconv.dataset_conversion.registry import CONVERTERS

MODEL_PAGE = Path(__file__).parents[1] / "page"
"""What `nnunet_pyconv export --web page` writes in the folder of the repository."""
TRY_IT = '\n    Here is <a href="../../try/">one with a model that the demo trained</a>.\n'

GROUPS: dict[str, Iterable[str]] = {"benchmark": SUBJECTS, "convert": ("folder", *CONVERTERS)}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Add the help of every command to the page that lists them, and the link to the model's page."""
    if page.file.src_uri == "how-to/predict-without-pytorch.md" and MODEL_PAGE.is_dir():
        return markdown + TRY_IT
    if page.file.src_uri != "reference/commands.md":
        return markdown
    commands = [[name, *rest] for name in COMMANDS for rest in ([], *([each] for each in GROUPS.get(name, ())))]
    sections = [f"## nnunet_pyconv {' '.join(words)}\n\n```text\n{_help(words)}```\n" for words in commands]
    return "\n".join([markdown, *sections])


def on_post_build(config: Any, **_: Any) -> None:
    """Copy the model's page into the site."""
    if MODEL_PAGE.is_dir():
        shutil.copytree(MODEL_PAGE, Path(config.site_dir) / "try", dirs_exist_ok=True)


def _help(words: Sequence[str]) -> str:
    printed = io.StringIO()
    os.environ["COLUMNS"] = "100"
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        parse([*words, "--help"])
    return printed.getvalue()
