"""What the command line prints: rows as table, JSON or CSV, and progress bars on stderr."""

import csv
import json
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

Format = Literal["table", "json", "csv"]
ProgressCallback = Callable[[int, int, str], None]  # done, total, what

PROGRESS_AS_JSON = "THROUGHLINE_PROGRESS_AS_JSON"  # set by a program that shows our progress itself
SHORT_COLUMNS = {"name", "status", "uri", "running", "pid"}

# what a terminal would obey or nobody could see: control characters, and marks that turn the direction of writing
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """A text with every character that a terminal would obey in a form that can be seen.

    >>> visible("\x1b[31mred\x07 \x9b \u202e")
    '␛[31mred␇ \\\\x9b \\\\u202e'
    """
    return HIDDEN.sub(_picture, text)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 32 else ascii(found[0])[1:-1]


class _Visible(RenderHook):
    """Prints texts as they can be seen: labels are data, and come from files of other people."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Seen(renderable) for renderable in renderables]


class _Seen:
    def __init__(self, inner: ConsoleRenderable):
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.inner, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def new_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console for texts of any kind."""
    console = Console(stderr=stderr, highlight=False, width=width)
    console.push_render_hook(_Visible())
    return console


notes = new_console(stderr=True)


def say(text: str) -> None:
    """Write a text to stdout, whatever it holds."""
    print(visible(text), flush=True)


def print_rows(columns: Sequence[str], rows: Sequence[dict[str, Any]], format: Format) -> None:
    """Write rows to stdout: a table for people, a JSON list, or CSV with nested values as JSON."""
    if format == "json":
        print_json(rows)
    elif format == "csv":
        writer = csv.DictWriter(_Lines(), columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: _flat(row.get(name)) for name in columns} for row in rows)
    else:
        # nobody reads folded cells in a file or a pipe
        width = None if sys.stdout.isatty() else 1000
        new_console(width=width).print(_table(columns, rows))


class _Lines:
    """Takes rows of CSV that end as its standard says, for Python to quote either line end, and ends them as here.

    A file gets what there is, a terminal what can be seen.
    """

    def write(self, row: str) -> None:
        row = row.removesuffix("\r\n") + "\n"
        sys.stdout.write(visible(row) if sys.stdout.isatty() else row)


def print_json(value: Any) -> None:
    """Write a value to stdout as JSON, with null for what JSON has no number for."""
    sys.stdout.write(_json(value, indent=1) + "\n")


def print_json_lines(rows: Iterable[dict[str, Any]]) -> None:
    """Write rows to stdout as a JSON list with a line for each, which JSON readers and `grep` both can read.

    Each is written as it comes; where what gives them fails, the list holds those before.
    """
    sys.stdout.write("[")
    try:
        for at, row in enumerate(rows):
            sys.stdout.write((",\n" if at else "") + _json(row))
            sys.stdout.flush()
    finally:
        sys.stdout.write("]\n")


@contextmanager
def log_on_stderr(name: str) -> Iterator[None]:
    """Show what is said on this log, above the progress bars."""
    log, handler = logging.getLogger(name), RichHandler(console=notes, show_path=False, omit_repeated_times=False)
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


@contextmanager
def progress_bar() -> Iterator[ProgressCallback]:
    """A callback `(done, total, what)` that draws one bar per `what` on stderr, and nothing where nobody looks.

    Where the environment has PROGRESS_AS_JSON, each call is a line of JSON on stderr instead.
    """
    if os.environ.get(PROGRESS_AS_JSON):
        yield _write_progress
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=notes,
        redirect_stdout=sys.stdout.isatty(),  # else lines meant for a file would go to the terminal
        disable=not notes.is_terminal,
    ) as bars:
        tasks: dict[str, Any] = {}

        def advance(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield advance


def shown(value: Any) -> str:
    """A value as a table cell shows it: floats to four significant digits, nested values as JSON."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case str():
            return visible(value).replace("\n", "␊").replace("\t", "␉")
        case _:
            return str(_flat(value))


def _write_progress(done: int, total: int, what: str) -> None:
    sys.stderr.write(json.dumps({"done": done, "total": total, "what": what}) + "\n")
    sys.stderr.flush()


def _table(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        numbers = any(isinstance(row.get(name), int | float) for row in rows)
        short = name.endswith("_id") or name in SHORT_COLUMNS  # to be copied, so never folded
        table.add_column(name, justify="right" if numbers else "left", overflow="fold", no_wrap=short)
    for row in rows:
        table.add_row(*(Text(shown(row.get(name))) for name in columns))  # Text: labels are data, not markup
    return table


def _json(value: Any, indent: int | None = None) -> str:
    """As JSON, in which what a terminal would obey is escaped."""
    text = json.dumps(_finite(value), indent=indent, ensure_ascii=False, default=str)
    return HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _finite(value: Any) -> Any:
    """The same with null for NaN and infinities, which JSON does not have."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {name: _finite(each) for name, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case _:
            return value


def _flat(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list | tuple) else value
