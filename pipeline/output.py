"""Frames as text for people (tables) and programs (CSV, JSON, Parquet)."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from pathlib import Path
from typing import Final, TextIO

import polars as pl
from polars.selectors import float as float_columns
from rich.box import SQUARE
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

FORMATS: Final = ("table", "csv", "json", "ndjson", "parquet")

_BY_SUFFIX: Final = {f".{name}": name for name in FORMATS[1:]} | {".jsonl": "ndjson"}
_CELL_MARGIN: Final = 3
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""Bytes of a dead letter must not command the reader's terminal."""


def format_of(out: Path | None) -> str:
    """The format that the name `out` asks for; a table where it asks for none."""
    return "table" if out is None else _BY_SUFFIX.get(out.suffix.lower(), "table")


def write(frame: pl.DataFrame, kind: str, out: Path | None) -> None:
    """Write `frame` in the format `kind` to the file `out` (replacing it), or to standard output.

    Times are written with the offset of their column's zone, lists and structs as JSON, bytes as text where they are UTF-8, else in
    hexadecimal. Parquet keeps the frame's own types; it needs a file.
    """
    if kind == "parquet":
        assert out is not None, "Parquet is not for terminals"
        frame.write_parquet(out)
        return
    with ExitStack() as stack:
        stream = sys.stdout if out is None else stack.enter_context(out.open("w", encoding="utf-8", newline=""))
        if kind == "csv":
            _write_csv(frame, stream)
        elif kind == "table":
            print_table(frame, stream)
        else:
            _write_json(frame, stream, lines=kind == "ndjson")


def _write_csv(frame: pl.DataFrame, stream: TextIO) -> None:
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(frame.columns)
    for row in frame.iter_rows():
        rows.writerow(["" if value is None else _cell(value) for value in row])


def _write_json(frame: pl.DataFrame, stream: TextIO, *, lines: bool) -> None:
    before, between, after = ("", "\n", "\n") if lines else ("[\n", ",\n", "\n]\n")
    rows = json_rows(frame)
    if not len(frame):
        stream.write("" if lines else "[]\n")
        return
    for number, row in enumerate(rows):
        stream.write(between if number else before)
        stream.write(dumps(row))
    stream.write(after)


def json_rows(frame: pl.DataFrame) -> Iterator[dict[str, object]]:
    """The rows of `frame`, for `dumps`. What is no finite number is null: JSON has no word for it."""
    finite = pl.when(float_columns().is_finite()).then(float_columns())
    return frame.with_columns(finite).iter_rows(named=True)


def dumps(value: object, indent: int | None = None) -> str:
    """`value` as JSON, with Chinese as it is."""
    return json.dumps(value, ensure_ascii=False, default=_plain, indent=indent)


def _plain(value: object) -> object:
    """The same value in what JSON has, for the types that it has not."""
    match value:
        case datetime() | date() | clock_time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return float(value)
        case bytes():
            return _text(value)
    return str(value)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.hex()


def _cell(value: object) -> str:
    if isinstance(value, (dict, list)):
        return dumps(value)
    return _text(value) if isinstance(value, bytes) else str(value)


def print_table(frame: pl.DataFrame, stream: TextIO, title: str | None = None) -> None:
    """Print `frame` as a table with whole cells; where the terminal is too narrow for it, each row as a list of its own."""
    if title:
        stream.write(f"{title}\n")
    numeric = [frame.schema[name].is_numeric() for name in frame.columns]
    rows = [
        ["NULL" if value is None else _cell(value).translate(_CONTROL) for value in row] for row in frame.iter_rows()
    ]
    widths = [_width([name, *(row[at] for row in rows)]) for at, name in enumerate(frame.columns)]
    needed = sum(width + _CELL_MARGIN for width in widths) + 1
    console = Console(file=stream, markup=False, highlight=False)
    if console.is_terminal and needed > console.width:
        _print_rows(frame.columns, rows, console)
        return
    console = Console(file=stream, markup=False, highlight=False, width=needed)
    table = Table(box=SQUARE)
    for name, right in zip(frame.columns, numeric, strict=True):
        table.add_column(Text(name), justify="right" if right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _width(texts: Iterable[str]) -> int:
    return max(cell_len(line) for text in texts for line in text.split("\n"))


def _print_rows(names: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    margin = _width(names)
    for number, row in enumerate(rows, start=1):
        console.rule(f"row {number}", align="left")
        for name, cell in zip(names, row, strict=True):
            console.print(Text(f"{name:>{margin}}  {cell}"), soft_wrap=True)
