"""What a batch told: its facts, by the table that each goes to."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from pipeline.arrays import distinct
from pipeline.decode import Decoded
from pipeline.packing import CASE_KINDS, KINDS, code
from schemas.frames import FACTS, LETTERS, RECORDS

_TABLE_OF: Final = {
    **dict.fromkeys((*KINDS, "exemption_granted"), "order_facts"),
    **dict.fromkeys(("waybill_uploaded", "resend_shipped"), "uploads"),
    "scan": "scans",
    "waybill_replaced": "replacements",
    **dict.fromkeys(CASE_KINDS, "aftersale_facts"),
}
"""Where an event's fact goes, by type; exemptions of many orders have a table of their own."""
_TABLES: Final = tuple(FACTS)
_NTH_TABLE: Final = np.array([_TABLES.index(name) for name in _TABLE_OF.values()])
_EXEMPTING: Final = list(_TABLE_OF).index("exemption_granted")


class Told(NamedTuple):
    """What a batch told.

    Attributes:
        facts: By table of `FACTS`; only tables that have any.
        letters: `LETTERS`.
        records: The batch as it came, `RECORDS`.
        rows: For each table, which row of `records` told each fact.
    """

    facts: Mapping[str, pl.DataFrame]
    letters: pl.DataFrame
    records: pl.DataFrame
    rows: Mapping[str, pl.Series]

    @property
    def events(self) -> int:
        """How many facts these are, some of them perhaps known already."""
        return sum(map(len, self.facts.values()))

    def latest(self) -> datetime | None:
        """When the platform learned of the last of these facts; None: there are none."""
        return max((_latest(frame) for frame in self.facts.values()), default=None)


def _latest(facts: pl.DataFrame) -> datetime:
    latest = facts["received_at"].max()
    assert isinstance(latest, datetime)
    return latest


def told(decoded: Decoded) -> Told:
    """Part events by the table that their facts go to."""
    events = decoded.events
    kind = code(events["type"], tuple(_TABLE_OF))
    table = _NTH_TABLE[kind]
    exempting = np.flatnonzero(kind == _EXEMPTING)
    if exempting.size:
        of_many = events["order_id"][exempting].is_null().to_numpy()
        table[exempting[of_many]] = _TABLES.index("exemptions")
    here = {_TABLES[nth]: pl.Series(table == nth) for nth in distinct(table)}
    return Told(
        {name: events[FACTS[name].names()].filter(rows) for name, rows in here.items()},
        decoded.letters,
        decoded.records,
        {name: decoded.rows.filter(rows) for name, rows in here.items()},
    )


NOTHING: Final = Told({}, LETTERS.to_frame(), RECORDS.to_frame(), {})
"""A batch in which only time passes."""
