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
        with_interval: Whether its cells have an interval, `key_low` and `key_high` in the CSV file.
    """

    key: str
    title: str
    numeric: bool = True
    larger_is_better: bool | None = None
    with_interval: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        value: Number or text; NaN for none.
        decimals: How many to show of a number.
        interval: Ends of the 95 % interval, NaN for none.
        signed: Whether a number shows its sign.
        best: Whether it is the column's best.
        footnote: Mark of a note, for example `a`; empty for none.
        detail: Small text below.
    """

    value: float | str
    decimals: int = 0
    interval: tuple[float, float] = (math.nan, math.nan)
    signed: bool = False
    best: bool = False
    footnote: str = ""
    detail: str = ""

    @property
    def text(self) -> str:
        """The value as a reader sees it."""
        return self.value if isinstance(self.value, str) else self._number(self.value)

    @property
    def small(self) -> str:
        """The interval, or the detail; empty for neither."""
        low, high = self.interval
        return self.detail if math.isnan(low) else f"{self._number(low)} to {self._number(high)}"

    def _number(self, number: float) -> str:
        if math.isnan(number):
            return "\u2013"
        return f"{number:{'+' if self.signed else ''}.{self.decimals}f}".replace("-", "\u2212")


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
            header += [column.key, *([f"{column.key}_low", f"{column.key}_high"] if column.with_interval else [])]
        writer.writerow(header)
        for row in self.rows:
            fields: list[float | str] = []
            for column, cell in zip(self.columns, row, strict=True):
                fields += [cell.value, *(cell.interval if column.with_interval else ())]
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
