"""Tables for people, in columns as wide as what they hold."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from storage_server.cli.output import say

_WIDTH_MAX: Final = 100_000  # of a line that nobody watches; tables take what they need of it


def print_list(heads: Sequence[str], rows: Sequence[Sequence[str | Text]], nothing: str) -> None:
    """Print what was found; when that is nothing, say so beside the output, which stays empty."""
    if rows:
        print_table(heads, rows)
    else:
        say((nothing,))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print rows in columns, on lines as long as they need to be when nobody watches."""
    table = table_of(heads, rows)
    shown = Console(highlight=False)
    if not shown.is_terminal:
        # A script cuts columns; what is folded for a width of 80 it would read as two rows.
        shown = Console(highlight=False, width=_WIDTH_MAX)
    shown.print(table)


def table_of(heads: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return rows as a table that folds what is too wide, and cuts nothing off."""
    table = Table(box=None, pad_edge=False, show_header=any(heads))
    for head in heads:
        # What does not fit goes on below: an ARN that ends in dots is of no use to anybody.
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table
