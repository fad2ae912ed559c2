"""Rows for the tests of the store: columns that are not named are null, times are hours after `T0`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from pipeline.store import Commit, Offset
from schemas.frames import FACTS, FLAG_LOG, LETTERS

T0 = datetime(2026, 3, 1, 4, tzinfo=UTC)
"""Noon in Shanghai."""

FLAG = {
    "rule": "no_pickup_scan", "clause": "4.1.2", "platform": "douyin", "merchant_id": "m", "violated_at": T0,
    "detected_at": T0, "status": "open", "evidence": '{"limit_hours": 24}', "change": "opened", "changed_at": T0,
}  # fmt: skip


def at(hours: float) -> datetime:
    return T0 + timedelta(hours=hours)


def rows(schema: pl.Schema, *dicts: Mapping[str, object]) -> pl.DataFrame:
    assert all(schema.keys() >= row.keys() for row in dicts), "a column that the table does not have"
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in dicts], schema=schema)


def facts(**tables: Sequence[Mapping[str, object]]) -> dict[str, pl.DataFrame]:
    given = {"occurred_at": T0, "received_at": T0}
    return {name: rows(FACTS[name], *({**given, **row} for row in dicts)) for name, dicts in tables.items()}


def flags(*dicts: Mapping[str, object]) -> pl.DataFrame:
    return rows(FLAG_LOG, *({**FLAG, **row} for row in dicts))


def letters(*dicts: Mapping[str, object]) -> pl.DataFrame:
    return rows(LETTERS, *dicts)


def commit(
    tables: Mapping[str, pl.DataFrame] | None = None,
    flagged: pl.DataFrame | None = None,
    dead: pl.DataFrame | None = None,
    offsets: Mapping[str, Offset] | None = None,
    clock: datetime | None = None,
    redriven: Sequence[int] = (),
) -> Commit:
    return Commit(
        tables or {},
        flags() if flagged is None else flagged,
        letters() if dead is None else dead,
        offsets or {},
        clock,
        redriven,
    )
