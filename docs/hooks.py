"""Hooks of mkdocs: the page of the commands is what their --help says."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Sequence
from typing import Any

from nnunet_pyconv.cli import COMMANDS, parse
from nnunet_pyconv.cli.benchmark import SUBJECTS
from nnunet_pyconv.dataset_conversion.registry import CONVERTERS

GROUPS: dict[str, Iterable[str]] = {"benchmark": SUBJECTS, "convert": ("folder", *CONVERTERS)}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Add the help of every command to the page that lists them."""
    if page.file.src_uri != "reference/commands.md":
        return markdown
    commands = [[name, *rest] for name in COMMANDS for rest in ([], *([each] for each in GROUPS.get(name, ())))]
    sections = [f"## nnunet_pyconv {' '.join(words)}\n\n```text\n{_help(words)}```\n" for words in commands]
    return "\n".join([markdown, *sections])


def _help(words: Sequence[str]) -> str:
    printed = io.StringIO()
    os.environ["COLUMNS"] = "100"
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        parse([*words, "--help"])
    return printed.getvalue()
