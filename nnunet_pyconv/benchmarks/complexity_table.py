"""The complexity table as text, Markdown, CSV and JSON: ours beside the paper's Table 3."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from nnunet_pyconv.benchmarks.complexity import Complexity
from nnunet_pyconv.markdown import escape, table
from nnunet_pyconv.writing import check_target, whole_files

_NOTE = (
    "GMac: billions of multiply-accumulates of one forward pass, which the paper's Table 3 calls FLOPs; GFLOP is twice "
    "as much, a multiplication and an addition. Latency: median and quartiles of a forward pass of one image on this "
    "machine. Memory: peak for one image, weights included, of a forward pass and of a training step with Adam."
)
_FILES = ("complexity.md", "complexity.csv", "complexity.json")


def to_markdown(complexities: Sequence[Complexity]) -> str:
    """Return a Markdown table with padded cells, which a terminal shows well too, and its notes below it.

    The paper's columns are there if a network has figures of the paper.
    """
    notes = list(dict.fromkeys(each.subject.note for each in complexities if each.subject.note))
    rows = [_row(each, notes) for each in complexities]
    with_paper = any(each.subject.paper_cost is not None for each in complexities)
    columns = [column for column in rows[0] if with_paper or not column.startswith("paper's")]
    widths = {column: max(len(column), *(len(row[column]) for row in rows)) for column in columns}
    lines = table(
        [column.ljust(widths[column]) for column in columns],
        [
            [
                row[column].ljust(widths[column]) if column == "network" else row[column].rjust(widths[column])
                for column in columns
            ]
            for row in rows
        ],
        numeric=range(1, len(columns)),
    )
    footnotes = [f"[{number}] {note}" for number, note in enumerate(notes, 1)]
    return "\n".join(lines) + "\n\n" + "\n\n".join([_NOTE, *footnotes]) + "\n"


def _row(complexity: Complexity, notes: Sequence[str]) -> dict[str, str]:
    subject, cost = complexity.subject, complexity.subject.paper_cost
    mark = f" [{notes.index(subject.note) + 1}]" if subject.note else ""
    return {
        "network": escape(subject.name) + mark,
        "parameters (M)": f"{complexity.parameters / 1e6:.3f}",
        "paper's parameters (M)": "" if cost is None else f"{cost.parameters_m:.2f}",
        "GMac": f"{complexity.gmac:.2f}",
        "paper's GMac": "" if cost is None else f"{cost.gmac:.2f}",
        "GFLOP": f"{2 * complexity.gmac:.2f}",
        "latency (ms)": f"{complexity.latency_ms:.1f} "
        f"({complexity.latency_low_ms:.1f}-{complexity.latency_high_ms:.1f})",
        "inference (MiB)": "" if complexity.inference_mib is None else f"{complexity.inference_mib:.0f}",
        "training (MiB)": "" if complexity.training_mib is None else f"{complexity.training_mib:.0f}",
    }


def write_tables(
    complexities: Sequence[Complexity], machine: Mapping[str, object], folder: Path, *, overwrite: bool = False
) -> list[Path]:
    """Write `complexity.md`, `complexity.csv` and `complexity.json`, all or none.

    Args:
        complexities: The rows.
        machine: What they were measured on; goes into the JSON.
        folder: Where to write; made if it does not exist.
        overwrite: Whether to replace files of these names.

    Returns:
        The files.

    Raises:
        InputError: Files that exist, or a folder that can't be.
    """
    prepare_output(folder, overwrite=overwrite)
    rows = []
    for each in complexities:
        subject, cost = each.subject, each.subject.paper_cost
        rows.append(
            {
                "name": subject.name,
                "input_shape": subject.input_shape,
                "paper_parameters_m": None if cost is None else cost.parameters_m,
                "paper_gmac": None if cost is None else cost.gmac,
                **{key: value for key, value in asdict(each).items() if key != "subject"},
                "gflop": 2 * each.gmac,
            }
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "input_shape": "x".join(map(str, row["input_shape"]))} for row in rows)
    files = [folder / name for name in _FILES]
    with whole_files(*files) as (markdown, table_file, data):
        markdown.write_text(to_markdown(complexities), "utf-8")
        table_file.write_text(text.getvalue(), "utf-8")
        data.write_text(json.dumps({"machine": machine, "networks": rows}, indent=4) + "\n", "utf-8")
    return files


def prepare_output(folder: Path, *, overwrite: bool) -> None:
    """Complain before the work about what `write_tables` would complain about.

    Raises:
        InputError: Files that exist, or a folder that can't be.
    """
    for name in _FILES:
        check_target(folder / name, overwrite=overwrite, kind="file")
