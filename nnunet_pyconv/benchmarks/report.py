"""What benchmarks have in common: their conditions, and how tables become Markdown and JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import torch

from nnunet_pyconv import markdown
from nnunet_pyconv.benchmarks.timing import Ratio
from nnunet_pyconv.device import pick_device
from nnunet_pyconv.nn.backends import available_backends
from nnunet_pyconv.nn.backends.native import build
from nnunet_pyconv.writing import check_target, whole_files

Value: TypeAlias = str | int | float | Ratio | None
"""None is what was not measured."""


@dataclass(frozen=True)
class Measurements:
    """Rows of named cells.

    Attributes:
        title: What was measured, and in which unit.
        rows: Column name to cell; columns stand in the order in which rows name them first.
    """

    title: str
    rows: list[dict[str, Value]]


def run(
    subject: str,
    command: str,
    measure: Callable[[torch.device], list[Measurements]],
    picture: Callable[[list[Measurements], Path], None] | None = None,
    *,
    device_name: str | None,
    folder: Path | None,
    overwrite: bool,
) -> None:
    """Measure, print the tables and write `SUBJECT.md`, `SUBJECT.json` and perhaps `SUBJECT.png`.

    Args:
        subject: What is measured; it names the files.
        command: The command that the user gave.
        measure: Returns the tables; it gets the device.
        picture: Draws the tables into a file.
        device_name: Where to measure; None for a GPU if there is one.
        folder: Where the files go; None writes none.
        overwrite: Whether to replace earlier files.

    Raises:
        InputError: A device that this machine lacks, a folder that can't be written, or earlier tables without
            --overwrite.
    """
    device = pick_device(device_name or ("cuda" if torch.cuda.is_available() else "cpu"))
    files: dict[str, Path] = {}
    if folder is not None:
        endings = ["md", "json", *(["png"] if picture else [])]
        files = {ending: folder / f"{subject}.{ending}" for ending in endings}
        for file in files.values():
            check_target(file, overwrite=overwrite, kind="file")
    conditions = {
        "command": command,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        **machine(device),
    }
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # as nnU-Net sets it
    tables = measure(device)
    text = to_markdown(conditions, tables)
    print(text)
    if not files:
        return
    with whole_files(*files.values()) as paths:
        new = dict(zip(files, paths, strict=True))
        new["md"].write_text(text, "utf-8")
        new["json"].write_text(to_json(conditions, tables), "utf-8")
        if picture:
            picture(tables, new["png"])


def to_markdown(conditions: dict[str, Any], tables: Sequence[Measurements]) -> str:
    """Write tables for people; ratios stand as median (lower quartile-upper quartile)."""
    lines = [f"`{conditions['command']}`", ""]
    lines += ["; ".join(f"{key}: {_plain(value)}" for key, value in conditions.items() if key != "command"), ""]
    for table in tables:
        columns = list(dict.fromkeys(name for row in table.rows for name in row))
        rows = [[markdown.escape(_text(row.get(column))) for column in columns] for row in table.rows]
        lines += [f"**{table.title}**", "", *markdown.table(list(map(markdown.escape, columns)), rows), ""]
    return "\n".join(lines)


def to_json(conditions: dict[str, Any], tables: Sequence[Measurements]) -> str:
    """Write the same tables for programs; ratios are objects with all their figures."""
    content = {**conditions, "tables": [asdict(table) for table in tables]}
    return json.dumps(content, indent=2) + "\n"


def machine(device: torch.device) -> dict[str, Any]:
    """Describe processors, threads, versions, settings and backends, without the machine's name."""
    name = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    gpu = {}
    if device.type == "cuda":
        gpu = {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    settings = ("NNUNET_PYCONV_BACKEND", "nnUNet_compile", "THP_MEM_ALLOC_ENABLE")
    return {
        "device": device.type,
        **gpu,
        "processor": name,
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "kernel": build.variant(),
        "threads": torch.get_num_threads(),
        **{package: version(package) for package in ("torch", "nnunetv2", "nnunet-pyconv")},
        "python": platform.python_version(),
        "system": platform.system(),
        "settings": {name: os.environ[name] for name in settings if name in os.environ},
        "backends": {name: reason or "available" for name, reason in available_backends().items()},
    }


def _plain(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) or "none" if isinstance(value, dict) else str(value)


def _text(cell: Value) -> str:
    if cell is None:
        return "-"
    return f"{cell:.4g}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)
