"""One SELECT on a DuckDB connection that must not be able to do anything else: what is allowed, running it, ending it.

The statement's type is no guard by itself: a DELETE inside a WITH counts as SELECT, and so does `FROM checkpoint()`, which would
write to a live database at a time that its writer did not choose. So a query runs in a read-only transaction, may only call
table functions known to be harmless, and its connection is one whose configuration is locked (`LOCKED`).
"""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache
from time import monotonic
from typing import Any, Final
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pyarrow as pa

LOCKED: Final = (
    "SET GLOBAL enable_external_access = false",
    "SET GLOBAL allowed_configs = ['TimeZone', 'max_vacuum_tasks', 'memory_limit']",
    "SET GLOBAL lock_configuration = true",
)
"""What a database needs before strangers may query it. It holds for every connection to it, until it is closed."""

WATCH_SECONDS: Final = 0.05
"""How often a running query is looked at."""

_READING: Final = ("SELECT", "EXPLAIN")
"""SHOW, DESCRIBE, SUMMARIZE, VALUES and FROM count as SELECT."""
_EXPLAIN: Final = re.compile(r"\s*EXPLAIN\b\s*(ANALYZE\b)?\s*(\([\w\s,]*\)(?=\s*[A-Z(]))?", re.IGNORECASE)
_CATALOG: Final = (
    *(
        "columns",
        "constraints",
        "databases",
        "dependencies",
        "functions",
        "indexes",
        "keywords",
        "memory",
        "optimizers",
    ),
    *("schemas", "sequences", "settings", "tables", "temporary_files", "types", "views"),
)
_TABLE_FUNCTIONS: Final = {
    *("range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree", "summary"),
    *(
        "histogram",
        "histogram_values",
        "test_all_types",
        "test_vector_types",
        "icu_calendar_names",
        "pg_timezone_names",
    ),
    *("pragma_database_size", "pragma_show", "pragma_storage_info", "pragma_table_info", "pragma_version"),
    *(f"duckdb_{name}" for name in _CATALOG),
}
"""Others read files, change the database or its settings, or run SQL that is hidden in a string."""
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
_BATCH_ROWS: Final = 65_536


class QueryError(Exception):
    """A query that cannot be answered; the message is one line and says what to do about it."""


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name.

    Raises:
        QueryError: There is none.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise QueryError(f"unknown time zone {name!r}: name one such as Asia/Shanghai") from error


def run(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    zone: ZoneInfo,
    *,
    bytes_max: int | None = None,
    seconds_max: float | None = None,
    watch: Callable[[], None] = lambda: None,
) -> pa.Table:
    """Run one SELECT or EXPLAIN on a connection of its own, whose configuration is `LOCKED`.

    Args:
        connection: Closed by the caller, which also ends its transaction.
        sql: The statement.
        zone: In which a TIMESTAMPTZ is turned into a date or text.
        bytes_max: How large the answer may be.
        seconds_max: How long it may take.
        watch: Called while the query runs; what it raises ends the query, and is raised here.

    Raises:
        QueryError: The statement is not allowed, fails, takes too long, or its answer is too large.
    """
    try:
        connection.execute(f"SET SESSION TimeZone = '{zone.key}'").fetchall()
        _check(sql)
        connection.execute("BEGIN TRANSACTION READ ONLY").fetchall()
        return _run_interruptibly(connection, lambda: _table(connection, sql, bytes_max), seconds_max, watch)
    except TimeoutError as error:
        raise QueryError(f"stopped after {seconds_max:g} s: ask for less, or allow more time") from error
    except duckdb.Error as error:
        raise QueryError(_explained(error)) from error


def frame_of(table: pa.Table) -> pl.DataFrame:
    """The answer as Polars has it: sums of integers are integers where they fit."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    for name, kind in frame.schema.items():
        if kind == _HUGE:
            with suppress(pl.exceptions.InvalidOperationError):
                frame = frame.with_columns(pl.col(name).cast(pl.Int64))
    return frame


def one_line(error: duckdb.Error) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split())


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """A database of its own: what can be serialized depends on a database's storage version, what is allowed must not."""
    return duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": "false"})


def _check(sql: str) -> None:
    with _parser().cursor() as parser:
        statements = parser.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError(f"one statement at a time, got {len(statements)}")
    kind = statements[0].type.name
    if kind not in _READING:
        raise QueryError(
            f"only SELECT and EXPLAIN are allowed, this is {kind}: the database is written by parcelwatch alone"
        )
    explain = _EXPLAIN.match(sql) if kind == "EXPLAIN" else None
    select = sql[explain.end() :] if explain else sql
    with _parser().cursor() as parser:
        serialized = parser.execute("SELECT json_serialize_sql(?)", [select]).fetchall()[0][0]
    try:
        parsed = json.loads(serialized)
    except RecursionError:
        raise QueryError("this is nested too deeply: write it flatter, or in several queries") from None
    if parsed["error"] or len(parsed["statements"]) != 1:
        why = parsed.get("error_message") or f"it must begin with {kind}"
        raise QueryError(f"this {kind} is not allowed ({why}): a query reads this database only")
    for name in _table_functions(parsed):
        if name.casefold() not in _TABLE_FUNCTIONS:
            raise QueryError(f"{name}() is not allowed: a query reads this database only")


def _table_functions(node: Any) -> Iterator[str]:
    """The names of all table functions in a parsed statement."""
    nodes = [node]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if node.get("type") == "TABLE_FUNCTION":
                yield node["function"]["function_name"]
            nodes.extend(node.values())
        elif isinstance(node, list):
            nodes.extend(node)


def _table(connection: duckdb.DuckDBPyConnection, sql: str, bytes_max: int | None) -> pa.Table:
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
    reader = relation.to_arrow_reader(_BATCH_ROWS)
    batches, size = [], 0
    for batch in reader:
        batches.append(batch)
        size += batch.nbytes
        if bytes_max is not None and size > bytes_max:
            larger = f"the answer is larger than {bytes_max >> 20:,} MB"
            raise QueryError(f"{larger}: ask for fewer rows or columns, or read the copy (query --copy)")
    return pa.Table.from_batches(batches, reader.schema)


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


def _run_interruptibly(
    connection: duckdb.DuckDBPyConnection,
    work: Callable[[], pa.Table],
    seconds_max: float | None,
    watch: Callable[[], None],
) -> pa.Table:
    """Run the query in a thread of its own, so that this one can end it: after some seconds, at Ctrl-C, or because of `watch`."""
    ends_at = None if seconds_max is None else monotonic() + seconds_max
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(work)
        try:
            while not wait([running], WATCH_SECONDS).done:
                watch()
                if ends_at is not None and monotonic() >= ends_at:
                    raise TimeoutError  # noqa: TRY301  ends the query as Ctrl-C does
            return running.result()
        except BaseException:
            while not running.done():
                connection.interrupt()
                wait([running], WATCH_SECONDS)
            raise


def _explained(error: duckdb.Error) -> str:
    message = one_line(error)
    if isinstance(error, duckdb.PermissionException):
        return f"{message} (a query reads this database only)"
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"{message} (ask for fewer rows or columns)"
    if "orrupt" in message:
        return f"{message} (a crash has damaged the file: the next start of parcelwatch restores it)"
    return message
