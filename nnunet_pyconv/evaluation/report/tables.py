"""Tables as data, and how they are written as CSV and Markdown."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_pyconv import markdown

_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        key: Name in the CSV file.
        title: What a reader sees.
        numeric: Whether it holds numbers.
        larger_is_better: Direction of numbers; None for none.
        extras: Names of further numbers of its cells, `key_NAME` in the CSV file.
    """

    key: str
    title: str
    numeric: bool = True
    larger_is_better: bool | None = None
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableCell:
    """A cell.

    Attributes:
        value: Number or text; NaN for none.
        decimals: How many to show of a number.
        signed: Whether a number shows its sign.
        best: Whether it is the column's best.
        footnote: Mark of a note, for example `a`; empty for none.
        small: Small text below, for example an interval.
        extras: Further numbers for the CSV file, one for each of the column's.
    """

    value: float | str
    decimals: int = 0
    signed: bool = False
    best: bool = False
    footnote: str = ""
    small: str = ""
    extras: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """The value as a reader sees it."""
        return self.value if isinstance(self.value, str) else shown(self.value, self.decimals, signed=self.signed)


def shown(number: float, decimals: int, *, signed: bool = False) -> str:
    """Return a number as a reader sees it: a dash for NaN, a true minus sign, none before a zero."""
    if math.isnan(number):
        return "\u2013"
    rounded = round(number, decimals) + 0.0  # -0.0 + 0.0 is 0.0
    return f"{rounded:{'+' if signed else ''}.{decimals}f}".replace("-", "\u2212")


@dataclass(frozen=True)
class ReportTable:
    """A table of the report; all its text is plain.

    Attributes:
        slug: Name of its files.
        title: Heading.
        caption: What its numbers are.
        columns: The columns; the first names the row.
        rows: Cells, one a column.
        notes: Further sentences below, in order.
        footnotes: Notes by mark.
    """

    slug: str
    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[TableCell]]
    notes: Sequence[str] = ()
    footnotes: tuple[tuple[str, str], ...] = ()

    def to_csv(self) -> str:
        """Return it as CSV: numbers in full, an empty field for none."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        header = []
        for column in self.columns:
            header += [column.key, *(f"{column.key}_{extra}" for extra in column.extras)]
        writer.writerow(map(_csv_field, header))
        for row in self.rows:
            fields: list[float | str] = []
            for cell in row:
                fields += [cell.value, *cell.extras]
            writer.writerow(map(_csv_field, fields))
        return out.getvalue()

    def to_markdown(self) -> str:
        """Return a heading, the table as shown, and its notes; the best of a column is bold."""
        lines = markdown.table(
            [markdown.escape(column.title) for column in self.columns],
            [[_markdown(cell) for cell in row] for row in self.rows],
            numeric=[number for number, column in enumerate(self.columns) if column.numeric],
        )
        notes = [*self.notes, *(f"({mark}) {note}" for mark, note in self.footnotes)]
        if notes:
            lines += ["", *(f"- {markdown.escape(note)}" for note in notes)]
        return "\n".join([f"## {markdown.escape(self.title)}", "", markdown.escape(self.caption), "", *lines]) + "\n"


def _csv_field(field: float | str) -> float | str:
    """A field of a CSV file; text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(field, str):
        return f"'{field}" if field.startswith(_FORMULA_SIGNS) else field
    return "" if math.isnan(field) else field


def _markdown(cell: TableCell) -> str:
    text = markdown.escape(cell.text)
    text = f"**{text}**" if cell.best else text
    text += f" ({cell.footnote})" if cell.footnote else ""
    return f"{text} ({markdown.escape(cell.small)})" if cell.small else text
