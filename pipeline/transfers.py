"""Which waybill's scans count for one that was replaced, where that depends on where the parcel changed hands."""

from typing import Final

import numpy as np

from detectors._facts import PICKED_UP, STATUSES
from pipeline.arrays import NONE, Ints, begins, distinct
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
    """Return what each of `waybills` was replaced by, `NONE` where by nothing that counts."""
    rows = facts.replacements_by_old.rows(distinct(waybills))
    old, handed_at = facts.replacements["waybill"][rows], facts.replacements["at"][rows]
    owners = distinct(old)
    owner, scans = facts.scans_by_waybill.owned(owners)
    division = facts.places.divisions_of(facts.scans["place"][scans])
    placed = division > 0
    owner, scans, division = owner[placed], scans[placed], division[placed]
    at, is_later = facts.scans["at"][scans], facts.scans["status"][scans] != STATUSES.index(PICKED_UP)

    by = np.lexsort((division, at, is_later, owner))
    by = by[begins(owner[by])]
    started = np.zeros(len(owners), np.int32)
    started[np.searchsorted(owners, owner[by])] = division[by]

    # Each replacement behind the scans up to its moment: the last of these tells where the parcel was.
    by = np.lexsort((division, at, owner))
    owner, at, division = owner[by], at[by], division[by]
    moments = np.lexsort((np.repeat([0, 1], [len(by), len(old)]), np.append(at, handed_at), np.append(owner, old)))
    is_scan = moments < len(by)
    replacement, last = moments[~is_scan] - len(by), (np.cumsum(is_scan) - 1)[~is_scan]
    seen = (last >= 0) & (np.append(owner, NONE)[last] == old[replacement])
    last_seen = np.zeros(len(old), np.int32)
    last_seen[replacement[seen]] = division[last[seen]]

    stated = facts.places.divisions_of(facts.replacements["place"][rows])
    handed, origin = np.where(stated > 0, stated, last_seen), started[np.searchsorted(owners, old)]
    within = (handed == 0) | (origin == 0) | (handed // _PROVINCE == origin // _PROVINCE)
    return facts.latest(waybills, rows[facts.replacements["correction"][rows] | within])
