"""Markdown tables with a row per table and split. Rows that were not made again stay as the page has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Cells = Sequence[str]


def line(cells: Cells) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def cells(text: str) -> list[str]:
    """The cells of one line."""
    return [cell.strip() for cell in text.strip().strip("|").split("|")]


def read_table(page: str, head: str) -> dict[str, list[str]]:
    """The rows of the table whose first line is `head`, by their first cell; empty if the page has no such table."""
    lines = page.splitlines()
    if head not in lines:
        return {}
    rows = {}
    for text in lines[lines.index(head) + 2 :]:
        if not text.startswith("|"):
            break
        found = cells(text)
        rows[found[0]] = found
    return rows


def merged(head: Cells, new: Mapping[str, Cells], old: str, order: Iterable[str]) -> list[str]:
    """The lines of a table: new rows by title, and between them the rows that the old page has under the same head."""
    first = line(head)
    rows = read_table(old, first) | {title: list(row) for title, row in new.items()}
    return [first, "|---" * len(head) + "|", *(line(rows[title]) for title in order if title in rows)]


def sections(page: str) -> dict[str, str]:
    """The sections of a page by their heading of level 2, each with its heading."""
    _, *parts = page.split("\n## ")
    return {part.splitlines()[0]: f"## {part}".rstrip() + "\n" for part in parts}
