"""Which waybill's scans count for one that was replaced, where that depends on where the parcel changed hands."""

from typing import Final

import numpy as np
import polars as pl

from detectors._facts import PICKED_UP, STATUSES
from pipeline.arrays import Ints
from pipeline.facts import Facts, follow

_PROVINCE: Final = 10_000
"""A division's code without its last four digits is its province's."""


def in_force_within_origin(facts: Facts, waybills: Ints) -> Ints:
    """Return the waybill whose scans count for each of `waybills`, by what happened in the province that they started from.

    A replacement counts only if the parcel changed hands in that province (WeChat 3.2.1, note), if its old number was a mistake, or
    if either place is unknown. Of those that count the latest does.
    """
    return follow(waybills, lambda now: _next_within_origin(facts, now))


def _next_within_origin(facts: Facts, waybills: Ints) -> Ints:
    """Return what each of `waybills` was replaced by, below zero where it was not."""
    replaced_by = np.full(len(waybills), -1, np.int32)
    rows = facts.replacements_by_old.rows(np.unique(waybills))
    if not rows.size:
        return replaced_by
    replacements = facts.replacements.frame(rows, "waybill", "new", "at", "correction", "place").with_row_index("row")
    replacements = replacements.with_columns(
        division=pl.Series(facts.places.divisions_of(replacements["place"].to_numpy()))
    )
    scans = facts.scans_of(replacements["waybill"].unique().to_numpy())
    scans = scans.with_columns(division=pl.Series(facts.places.divisions_of(scans["place"].to_numpy())))
    scans = scans.filter(pl.col("division") > 0)
    started = (
        scans.sort(pl.col("status") != STATUSES.index(PICKED_UP), "at", "division")
        .unique("waybill", keep="first", maintain_order=True)
        .select("waybill", started="division")
    )
    last_seen = (
        replacements.select("row", "waybill", handed_at="at")
        .join(scans, on="waybill")
        .filter(pl.col("at") <= pl.col("handed_at"))
        .sort("at", "division")
        .unique("row", keep="last", maintain_order=True)
        .select("row", last_seen="division")
    )
    handed = pl.when(pl.col("division") > 0).then("division").otherwise("last_seen")
    within = (pl.col("started") // _PROVINCE == handed // _PROVINCE).fill_null(value=True)
    counting = (
        replacements.join(started, on="waybill", how="left")
        .join(last_seen, on="row", how="left")
        .filter(pl.col("correction") | within)
    )
    names = facts.waybills.names(counting["new"].to_numpy())
    latest = counting.hstack(names).sort("waybill", "at", "carrier", "waybill_no").unique("waybill", keep="last")
    replaced = pl.DataFrame({"waybill": waybills}).join(latest, on="waybill", how="left", maintain_order="left")
    return replaced["new"].fill_null(-1).to_numpy()
