"""Read-only SQL over a database that another process may be writing: one SELECT, no other files, nothing changed.

While a writer has the file, it answers itself (`serving`), up to its last commit. When it does not, its published copy is read,
which is some seconds old. The copy is also preferred when it equals the file, so that a long query does not stand in the way
of a writer that starts. Whoever answers, the same query has the same answer and the same errors.
"""

import time
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from pipeline.guarded import LOCKED, QueryError, frame_of, one_line, run, zone_of
from pipeline.healing import copy_path_of, log_path_of
from pipeline.serving import NobodyAnswersError, ask

__all__ = ["Answer", "QueryError", "query"]

_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",  # spilling would make a folder beside the file
    "memory_limit": "50%",  # the writer needs some too
}


class Answer(NamedTuple):
    """What a query returned."""

    frame: pl.DataFrame
    """Times are in the zone asked for. Types that Polars does not have (INTERVAL, MAP) are text."""
    source_note: str | None
    """What was read, and as of when; None: the database itself, which nobody writes."""


def query(
    path: Path,
    sql: str,
    *,
    timezone: str = "Asia/Shanghai",
    timeout_seconds: float | None = None,
    live: bool = True,
) -> Answer:
    """Answer one SELECT or EXPLAIN from the database `path`: through the process that writes it, or from the files.

    Args:
        path: The database file, as given to the writer.
        sql: The statement.
        timezone: The zone in which times are shown, and in which a TIMESTAMPTZ is turned into a date.
        timeout_seconds: How long the query may take; None: as long as it takes, or as the writer allows.
        live: Whether the writer is asked. The copy has no limits of time and size.

    Raises:
        QueryError: There is no such database, the statement is not allowed, or it fails.
    """
    zone, path = zone_of(timezone), path.resolve()
    if live:
        with suppress(NobodyAnswersError):
            table = ask(path, sql, zone, timeout_seconds)
            return Answer(
                frame_of(table), f"{path.name} is being written: read through its writer, up to the last commit"
            )
    connection, note = _open(path, zone)
    with closing(connection):
        return Answer(frame_of(run(connection, sql, zone, seconds_max=timeout_seconds)), note)


def _open(path: Path, zone: ZoneInfo) -> tuple[duckdb.DuckDBPyConnection, str | None]:
    copy_path = copy_path_of(path)
    if _are_equal(path, copy_path):
        with suppress(duckdb.Error):
            return _connect(copy_path), None
    try:
        return _connect(path), None
    except duckdb.Error as error:  # a writer has it, or a crash has torn it
        try:
            connection = _connect(copy_path)
        except duckdb.Error:
            if not path.exists():
                raise QueryError(f"no database at {path}: name it with --db") from error
            raise QueryError(f"{path}: {one_line(error)}") from error
        why = "is being written" if "lock" in str(error) else "cannot be read" if path.exists() else "is missing"
        with suppress(FileNotFoundError):
            modified = copy_path.stat().st_mtime
            as_of = datetime.fromtimestamp(modified, zone).isoformat(" ", "seconds")
            age = max(0, round(time.time() - modified))
            return connection, f"{path.name} {why}: read its copy {copy_path.name}, as of {as_of} ({age:,} s ago)"
        return connection, f"{path.name} {why}: read its copy {copy_path.name}"


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    if not path.is_file():  # nothing is ever created
        raise duckdb.IOException(f"no such file: {path}")
    connection = duckdb.connect(str(path), read_only=True, config=_CONFIG)
    for setting in LOCKED:
        connection.execute(setting).fetchall()
    return connection


def _are_equal(path: Path, copy_path: Path) -> bool:
    """Return whether the copy was made of the file as it is, and there is no write-ahead log to go with it."""
    try:
        file, copy = path.stat(), copy_path.stat()
        return (file.st_mtime_ns, file.st_size) == (copy.st_mtime_ns, copy.st_size) and not log_path_of(path).exists()
    except OSError:
        return False
