"""Reads places as the pipeline does, for tests: from texts or fields to what they resolve to."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from places.divisions import divisions
from places.reading import Found, read_text
from places.resolving import reduced, resolve
from places.texts import skeletons

ORDER = ("province", "city", "district", "detail", "place_text")
SCAN = ("country", "province", "city", "district", "facility", "place_text", "description")


def found_in(texts: list[str], *, scanned: bool) -> list[Found]:
    """What each text means."""
    return [read_text(skeleton, scanned=scanned) for skeleton in skeletons(pl.Series(texts), scanned=scanned)]


def names_of(found: Found) -> tuple[str | None, str | None]:
    """The city and the county that a text most probably means."""
    today = divisions()
    return today[found.city].name if found.city else None, today[found.county].name if found.county else None


def addresses(*rows: dict[str, str]) -> list[dict[str, Any]]:
    """What orders' addresses resolve to."""
    return _resolved(rows, ORDER, scanned=False)


def locations(*rows: dict[str, str]) -> list[dict[str, Any]]:
    """What scans' places resolve to."""
    return _resolved(rows, SCAN, scanned=True)


def _resolved(rows: Sequence[dict[str, str]], columns: tuple[str, ...], *, scanned: bool) -> list[dict[str, Any]]:
    assert all(set(row) <= set(columns) for row in rows)
    frame = pl.DataFrame(list(rows), schema=dict.fromkeys(columns, pl.String))
    return resolve(reduced(frame, scanned=scanned)).rows(named=True)
