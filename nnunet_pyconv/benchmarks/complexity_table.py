"""The complexity table as text, Markdown, CSV and JSON: ours beside the paper's Table 3."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from nnunet_pyconv.benchmarks.complexity import Complexity
from nnunet_pyconv.errors import InputError

NOTES = (
    "GMac: billions of multiply-accumulates of one forward pass, which the paper's Table 3 calls FLOPs; GFLOP is twice "
    "as much, a multiplication and an addition. Latency: median and quartiles of a forward pass of one image on this "
    "machine. Memory: peak for one image, weights included, of a forward pass and of a training step with Adam.",
    "UNet++ has its four heads, as in the paper. MultiResUNet is described in the paper, but not measured.",
    "[1] No published code gives the paper's figures for PyConvU-Net: its class can't run, and no reading of the text "
    "gives both. Ours is the reading nearest to them that exceeds neither, see nnunet_pyconv.architectures."
    "PaperPyConvUNet.",
)
_COLUMNS = ("network", "parameters (M)", "GMac", "GFLOP", "latency (ms)", "inference (MiB)", "training (MiB)")
_PAPER = ("paper's parameters (M)", "paper's GMac")


def to_markdown(complexities: Sequence[Complexity]) -> str:
    """Return a Markdown table with padded cells, which a terminal shows well too, and its notes below it.

    The paper's columns, and the notes on its networks, are there if a network has figures of the paper.
    """
    with_paper = any(each.subject.paper_gmac is not None for each in complexities)
    header = [*_COLUMNS[:2], *_PAPER[:1], _COLUMNS[2], *_PAPER[1:], *_COLUMNS[3:]] if with_paper else list(_COLUMNS)
    table = [header]
    for each in complexities:
        cells = {
            "network": each.subject.name,
            "parameters (M)": f"{each.parameters / 1e6:.3f}",
            "paper's parameters (M)": _number(each.subject.paper_parameters_m, ".2f"),
            "GMac": f"{each.gmac:.2f}",
            "paper's GMac": _number(each.subject.paper_gmac, ".2f"),
            "GFLOP": f"{2 * each.gmac:.2f}",
            "latency (ms)": f"{each.latency_ms:.1f} ({each.latency_low_ms:.1f}-{each.latency_high_ms:.1f})",
            "inference (MiB)": _number(each.inference_mib, ".0f"),
            "training (MiB)": _number(each.training_mib, ".0f"),
        }
        table.append([cells[column] for column in header])
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    notes = NOTES if with_paper else NOTES[:1]
    return "\n".join(lines) + "\n\n" + "\n\n".join(notes) + "\n"


def write_tables(
    complexities: Sequence[Complexity], machine: Mapping[str, object], folder: Path, *, overwrite: bool = False
) -> list[Path]:
    """Write `complexity.md`, `complexity.csv` and `complexity.json`, all or none.

    Args:
        complexities: The rows.
        machine: What they were measured on; goes into the JSON.
        folder: Where to; made if it isn't there.
        overwrite: Whether to replace files of these names.

    Returns:
        The files.

    Raises:
        InputError: Files that exist, or a folder that can't be.
    """
    prepare_output(folder, overwrite=overwrite)
    rows = []
    for each in complexities:
        row = asdict(each) | {"gflop": 2 * each.gmac}
        subject = row.pop("subject")
        rows.append({key: value for key, value in subject.items() if key != "build"} | row)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "input_shape": "x".join(map(str, row["input_shape"]))} for row in rows)
    texts = {
        "complexity.md": to_markdown(complexities),
        "complexity.csv": table.getvalue(),
        "complexity.json": json.dumps({"machine": machine, "networks": rows}, indent=4) + "\n",
    }
    with tempfile.TemporaryDirectory(prefix=".complexity-", dir=folder) as hidden:
        for name, text in texts.items():
            (Path(hidden) / name).write_text(text)
        for name in texts:
            (Path(hidden) / name).replace(folder / name)
    return [folder / name for name in texts]


def prepare_output(folder: Path, *, overwrite: bool) -> None:
    """Make the folder, and complain before the work about what `write_tables` would complain about.

    Raises:
        InputError: Files that exist, or a folder that can't be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"-o {folder}: can't make this folder ({error.strerror}); give another") from error
    there = sorted(folder.glob("complexity.*"))
    if there and not overwrite:
        raise InputError(f"{there[0]} exists already; choose another folder with -o, or replace it with --overwrite")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
