"""Read-only SQL over a database that another process may be writing: one SELECT, no other files, nothing changed.

While a writer has the file, its published copy is read, which is some seconds old. The copy is also preferred when the two
are equal, so that a long query does not stand in the way of a writer that starts.
"""

import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from pipeline.healing import copy_path_of, log_path_of

_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",  # spilling would make a folder beside the file
    "memory_limit": "50%",  # the writer needs some too
}
_READING: Final = ("SELECT", "EXPLAIN")
"""SHOW, DESCRIBE, SUMMARIZE, VALUES and FROM count as SELECT. So does a DELETE inside a WITH: the file is open read-only."""
_AS_TEXT: Final = (
    "INTERVAL",
    "MAP(",
    "UNION(",
    "TIME WITH TIME ZONE",
    "TIME_NS",
    "BIT",
    "VARIANT",
    "GEOMETRY",
    "BIGNUM",
)
"""Types that Polars does not have, alone or in a list or struct."""
_HUGE: Final = pl.Decimal(38, 0)
"""What a HUGEINT becomes."""


class QueryError(Exception):
    """A query that cannot be answered; the message is one line and says what to do about it."""


class Answer(NamedTuple):
    """What a query returned."""

    frame: pl.DataFrame
    """Times are in the zone asked for. Types that Polars does not have (INTERVAL, MAP) are text."""
    source_note: str | None
    """What was read, and as of when, where it may be behind the last commit; None: it is not."""


def query(path: Path, sql: str, *, timezone: str = "Asia/Shanghai", timeout_seconds: float | None = None) -> Answer:
    """Answer one SELECT or EXPLAIN from the database `path`, or from its published copy.

    Args:
        path: The database file, as given to the writer.
        sql: The statement.
        timezone: The zone in which times are shown, and in which a TIMESTAMPTZ is turned into a date.
        timeout_seconds: How long the query may take; None: as long as it takes.

    Raises:
        QueryError: There is no such database, the statement is not allowed, or it fails.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ValueError, OSError, KeyError) as error:
        raise QueryError(f"unknown time zone {timezone!r}: name one such as Asia/Shanghai") from error
    with ExitStack() as cleanup:
        connection, note = _open(path.resolve(), zone)
        cleanup.callback(connection.close)
        try:
            connection.execute(f"SET GLOBAL TimeZone = '{zone.key}'").fetchall()
            connection.execute("SET lock_configuration = true").fetchall()
            _check_statement(connection, sql)
            connection.execute("BEGIN TRANSACTION READ ONLY").fetchall()
            return Answer(_run_interruptibly(connection, sql, timeout_seconds), note)
        except TimeoutError as error:
            raise QueryError(f"stopped after {timeout_seconds:g} s: ask for less, or allow more time") from error
        except duckdb.Error as error:
            raise QueryError(_explained(error)) from error


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
            raise QueryError(f"{path}: {_one_line(error)}") from error
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
    return duckdb.connect(str(path), read_only=True, config=_CONFIG)


def _are_equal(path: Path, copy_path: Path) -> bool:
    """Return whether the copy was made of the file as it is, and there is no write-ahead log to go with it."""
    try:
        file, copy = path.stat(), copy_path.stat()
        return (file.st_mtime_ns, file.st_size) == (copy.st_mtime_ns, copy.st_size) and not log_path_of(path).exists()
    except OSError:
        return False


def _check_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError(f"one statement at a time, got {len(statements)}")
    kind = statements[0].type.name
    if kind not in _READING:
        raise QueryError(
            f"only SELECT and EXPLAIN are allowed, this is {kind}: the database is written by parcelwatch alone"
        )


def _run(connection: duckdb.DuckDBPyConnection, sql: str) -> pl.DataFrame:
    relation = connection.sql(sql)
    names = _unique(relation.columns)
    odd = [any(name in str(kind) for name in _AS_TEXT) for kind in relation.types]
    if names != relation.columns or any(odd):
        relation = relation.project(
            ", ".join(
                (f"CAST(#{number} AS VARCHAR)" if as_text else f"#{number}")
                + f' AS "{name.replace(chr(34), chr(34) * 2)}"'
                for number, (name, as_text) in enumerate(zip(names, odd, strict=True), start=1)
            )
        )
    frame = pl.from_arrow(relation.to_arrow_table())
    assert isinstance(frame, pl.DataFrame)
    for name, kind in frame.schema.items():
        if kind == _HUGE:  # sums of integers
            with suppress(pl.exceptions.InvalidOperationError):
                frame = frame.with_columns(pl.col(name).cast(pl.Int64))
    return frame


def _unique(names: list[str]) -> list[str]:
    """Number the repeated names, as joins have them: `order_id`, `order_id_1`."""
    unique: dict[str, None] = {}
    for name in names:
        number, candidate = 0, name
        while candidate in unique or (number and candidate in names):
            number += 1
            candidate = f"{name}_{number}"
        unique[candidate] = None
    return list(unique)


def _run_interruptibly(connection: duckdb.DuckDBPyConnection, sql: str, seconds: float | None) -> pl.DataFrame:
    """Run the query in a thread of its own, so that this one can end it: after some seconds, or at Ctrl-C."""
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(_run, connection, sql)
        try:
            return running.result(seconds)
        except (TimeoutError, KeyboardInterrupt):
            while not running.done():
                connection.interrupt()
                wait([running], 0.05)
            raise


def _explained(error: duckdb.Error) -> str:
    message = _one_line(error)
    if isinstance(error, duckdb.PermissionException):
        return f"{message} (a query reads this database only)"
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"{message} (ask for fewer rows or columns)"
    if "orrupt" in message:
        return f"{message} (a crash has damaged the file: the next start of parcelwatch restores it)"
    return message


def _one_line(error: duckdb.Error) -> str:
    return " ".join(str(error).split())
