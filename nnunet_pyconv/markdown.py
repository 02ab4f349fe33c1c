"""Markdown tables: the one place that writes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_SPECIAL = "\\`|*_<[$"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[int] = ()) -> list[str]:
    """Return the lines of a table.

    Args:
        columns: Titles, in Markdown.
        rows: Cells, one a column, in Markdown; text from elsewhere goes through `escape`.
        numeric: Numbers of the columns that hold numbers, which are aligned to the right.
    """
    rule = ["---:" if number in numeric else "---" for number in range(len(columns))]
    return [f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows)]


def escape(text: str) -> str:
    """Let a text that is no Markdown stand in a cell as it is: special characters escaped, all on one line."""
    return "".join("\\" + character if character in _SPECIAL else character for character in " ".join(text.split()))
