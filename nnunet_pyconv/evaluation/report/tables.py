"""Tables as data, and how they are written as CSV and Markdown."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass


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
class Cell:
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
    """A number as a reader sees it: a dash for NaN, a true minus sign."""
    if math.isnan(number):
        return "\u2013"
    return f"{number:{'+' if signed else ''}.{decimals}f}".replace("-", "\u2212")


@dataclass(frozen=True)
class Table:
    """A table.

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
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    footnotes: tuple[tuple[str, str], ...] = ()

    def to_csv(self) -> str:
        """Numbers in full, an empty field for none."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        header = []
        for column in self.columns:
            header += [column.key, *(f"{column.key}_{extra}" for extra in column.extras)]
        writer.writerow(header)
        for row in self.rows:
            fields: list[float | str] = []
            for cell in row:
                fields += [cell.value, *cell.extras]
            writer.writerow(["" if isinstance(field, float) and math.isnan(field) else field for field in fields])
        return out.getvalue()

    def to_markdown(self) -> str:
        """A heading, the table as shown, and its notes; the best of a column is bold."""
        lines = [f"## {self.title}", "", self.caption, ""]
        lines.append("| " + " | ".join(_escape(column.title) for column in self.columns) + " |")
        lines.append("|" + "|".join("---:" if column.numeric else "---" for column in self.columns) + "|")
        for row in self.rows:
            lines.append("| " + " | ".join(_markdown(cell) for cell in row) + " |")
        notes = [*self.notes, *(f"({mark}) {note}" for mark, note in self.footnotes)]
        if notes:
            lines += ["", *(f"- {note}" for note in notes)]
        return "\n".join(lines) + "\n"


def _markdown(cell: Cell) -> str:
    text = f"**{_escape(cell.text)}**" if cell.best else _escape(cell.text)
    text += f" ({cell.footnote})" if cell.footnote else ""
    return f"{text} ({_escape(cell.small)})" if cell.small else text


def _escape(text: str) -> str:
    for character in "\\|*_<":
        text = text.replace(character, "\\" + character)
    return text
