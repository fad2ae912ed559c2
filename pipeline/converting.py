"""The command `convert`: which events carriers' data become, without a database. People in texts are hidden, as in the database."""

import argparse
import sys
from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from pipeline.documents import open_files
from pipeline.files import FileReader
from pipeline.formats import Formats
from pipeline.privacy import without_names, without_numbers
from pipeline.tables import with_values
from schemas.carriers import Reading
from schemas.events import Event, RejectedError, Scan
from schemas.settings import Settings


class Payload(NamedTuple):
    """One message of a file."""

    place: str
    """Where it stands, for people."""
    value: bytes


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write the events of `arguments.paths` to standard output, one a line; returns the exit status.

    What cannot be read is told on standard error, with its place; then the status is 1.

    Raises:
        FileSourceError: A path is no readable file of a known kind.
    """
    formats = Formats.of(settings, files=arguments.format)
    payloads = failed = silent = 0
    for reader in open_files(arguments.paths):
        for payload in payloads_of(reader):
            payloads += 1
            reading, complaint = _read(payload, formats)
            for event in reading.events:
                sys.stdout.write(f"{_shown(event)}\n")
            if complaint:
                failed += 1
                sys.stderr.write(f"{payload.place}: {complaint}\n")
            silent += not reading.events and not complaint
    if failed or silent or not payloads:
        sys.stderr.write(
            f"parcelwatch: of {payloads:,} payloads {failed:,} cannot be read in full, {silent:,} tell nothing\n"
        )
    return 1 if failed else 0


def payloads_of(reader: FileReader) -> Iterator[Payload]:
    """The messages of a file, each with its line, row or item."""
    while (batch := reader.read()) is not None:
        for value, position in with_values(batch.records).select("value", "position").iter_rows():
            yield Payload(f"{reader.name}:{position}", value or b"")


def _read(payload: Payload, formats: Formats) -> tuple[Reading, str | None]:
    try:
        reading = formats.read(payload.place, payload.value, None)
    except RejectedError as error:
        return Reading([], []), str(error)
    return reading, reading.complaint


def _shown(event: Event) -> str:
    """An event as it could be sent on. When it was received is not known here."""
    if isinstance(event, Scan) and event.description:
        text = without_names(without_numbers(pl.Series([event.description]))).item()
        event = event.model_copy(update={"description": text})
    return event.model_dump_json(exclude={"received_at"}, exclude_none=True)
