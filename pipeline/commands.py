"""The commands that are short: `query`, `redrive` and `schema`. Each returns the exit status."""

import argparse
import sys

from pipeline.cli import UsageError
from pipeline.formats import Formats
from pipeline.output import dumps, format_of, write
from pipeline.reading import query as read
from pipeline.replay import Summary
from pipeline.running import Stop, opened
from schemas.events import json_schema
from schemas.frames import RECORDS
from schemas.settings import Settings


def query(arguments: argparse.Namespace, settings: Settings) -> int:
    """Answer one SQL question.

    Raises:
        QueryError: The database is not there, or the SQL is wrong or not allowed.
        UsageError: The arguments make no sense together.
    """
    kind = arguments.format or format_of(arguments.out)
    if kind == "parquet" and arguments.out is None:
        raise UsageError("--format parquet needs --out FILE: Parquet is not for the terminal")
    sql = sys.stdin.read() if arguments.sql == "-" else arguments.sql
    answer = read(settings.db, sql, timezone=settings.timezone, live=not arguments.copy)
    frame = answer.frame
    if answer.source_note:
        sys.stderr.write(f"parcelwatch: {answer.source_note}\n")
    if kind == "table" and arguments.rows and len(frame) > arguments.rows:
        sys.stderr.write(f"parcelwatch: the first {arguments.rows:,} of {len(frame):,} rows; --rows 0 shows all\n")
        frame = frame.head(arguments.rows)
    write(frame, kind, arguments.out)
    return 0


def redrive(arguments: argparse.Namespace, settings: Settings) -> int:
    """Put all dead letters through the pipeline again; those that fail again stay, with what is wrong now."""
    del arguments
    summary = Summary()
    tried = 0
    formats = Formats.of(settings, guess=True)
    with Stop() as stop, opened(settings, formats) as (store, engine, decoder, _):
        last = 0
        while not stop and len(letters := store.letters_after(last, dead_only=True)):
            last = letters["id"][-1]
            tried += len(letters)
            records = letters.select("source", "position", "recorded_at", value="raw").select(RECORDS.names())
            told = decoder.decode(records)
            revived = letters.join(told.letters, on=["source", "position", "raw"], how="anti")
            summary.add(engine.process(told, {}, None, redriven=revived["id"].to_list()))
    sys.stdout.write(
        f"{tried:,} dead letters tried: {summary.events:,} are events now, {summary.letters:,} are dead still\n"
        f"{summary.changed()}"
    )
    return stop.status if stop else 0


def schema(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write the JSON Schema of the events."""
    del arguments, settings
    sys.stdout.write(dumps(json_schema(), indent=2) + "\n")
    return 0
