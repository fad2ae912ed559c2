# ruff: noqa: S608 - every name in a statement is ours
"""The tables and views of the database, for new files and for those of earlier versions."""

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

import duckdb
import polars as pl

from pipeline.healing import FORMAT
from schemas.frames import FACTS, FLAG_LOG, LETTERS, TIME

_SQL_TYPES: Final[Mapping[pl.DataType | type[pl.DataType], str]] = {
    pl.String(): "VARCHAR",
    pl.Binary(): "BLOB",
    pl.Int32(): "INTEGER",
    pl.Int64(): "BIGINT",
    pl.Datetime("us", "UTC"): "TIMESTAMPTZ",
    pl.List(pl.String()): "VARCHAR[]",
    pl.Decimal(9, 4): "DECIMAL(9,4)",
    pl.Decimal(9, 2): "DECIMAL(9,2)",
}


def create_views(connection: duckdb.DuckDBPyConnection, extra_sql: str = "") -> None:
    """Create the views of `views.sql` and those of `extra_sql`, unless the database has exactly these already."""
    text = views_sql(extra_sql)
    digest = _digest(text)
    if connection.execute("SELECT views FROM parcelwatch").fetchall() == [(digest,)]:
        return
    connection.begin()
    connection.execute(text).fetchall()
    connection.execute("UPDATE parcelwatch SET views = ?", [digest]).fetchall()
    connection.commit()


_TABLES: Final[Mapping[str, Mapping[str, pl.DataType | type[pl.DataType]]]] = {
    **FACTS,
    "flag_log": {"seq": pl.Int64(), **FLAG_LOG},
    "letters": {"id": pl.Int64(), **LETTERS, "first_seen_at": TIME, "redriven_at": TIME},
    "offsets": {"source": pl.String(), "position": pl.Int64(), "checksum": pl.Int64()},
    "published": {"topic": pl.String(), "last": pl.Int64()},
    "purged": {"table_name": pl.String(), "rows": pl.Int64(), "last": pl.Int64()},
    "parcelwatch": {
        "format": pl.Int32(),
        "views": pl.String(),
        "clock": TIME,
        "memory": pl.String(),
        "key_mark": pl.String(),
    },
}


def views_sql(extra_sql: str) -> str:
    """Return `views.sql` and, after it, `extra_sql`."""
    return files("pipeline").joinpath("views.sql").read_text("utf-8") + extra_sql


def _digest(views: str) -> str:
    return hashlib.sha256(views.encode()).hexdigest()


def _table_statements() -> list[str]:
    creating = [
        f"CREATE TABLE {table} ({', '.join(f'{name} {_sql_type(name, kind)}' for name, kind in columns.items())});"
        for table, columns in _TABLES.items()
    ]
    none_yet = ", ".join(f"('{table}', 0, NULL)" for table in (*FACTS, "flag_log", "letters"))
    return [*creating, f"INSERT INTO purged VALUES {none_yet};"]


def ddl(views: str) -> str:
    """Return what makes an empty database with these views."""
    about = f"INSERT INTO parcelwatch (format, views) VALUES ({FORMAT}, '{_digest(views)}');"
    return "\n".join([*_table_statements(), about, views])


def upgrade(connection: duckdb.DuckDBPyConnection) -> None:
    """Give a database of an earlier format the tables and columns that it lacks, all of them or none."""
    if connection.execute("SELECT format FROM parcelwatch").fetchall() == [(FORMAT,)]:
        return
    known = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = current_database()"
    ).fetchall()
    tables = {table for table, _ in known}
    connection.begin()
    for statement in _table_statements():
        if statement.split()[2] not in tables:
            connection.execute(statement).fetchall()
    for table, columns in _TABLES.items():
        for name in columns if table in tables else ():
            if (table, name) not in known:
                kind = _sql_type(name, columns[name])
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}").fetchall()
    connection.execute("UPDATE parcelwatch SET format = ?", [FORMAT]).fetchall()
    connection.commit()


def _sql_type(name: str, kind: pl.DataType | type[pl.DataType]) -> str:
    return "JSON" if name == "evidence" else _SQL_TYPES[kind]
