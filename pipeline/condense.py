"""Facts condensed to the views that rules are asked about: one row per order, per shipment, per repeated pickup.

The vocabulary and its meaning are in `detectors._facts`. Keys stay numbers here (`order`, `waybill`, `scanned`, …), and so does
what only evidence shows: `told` puts that into words, for the few rows that need it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from detectors._facts import AT_HUB, DROPS, MOVING, PICKED_UP, STATUSES, TURNED_BACK
from pipeline.arrays import NONE, Bools, Ints, begins, column, distinct, pairs, rows_of, taken
from pipeline.facts import Facts, lie_in
from pipeline.packing import CASE_KINDS, CASE_WORDS, KINDS, NEVER, UNKNOWN, Times, time_column
from pipeline.transfers import in_force_within_origin
from schemas.events import AftersaleAnswer, AftersaleKind

_PAID, _CANCELLED, _ADDRESS_CHANGED = range(len(KINDS))
_STATUS: Final = {name: code for code, name in enumerate(STATUSES)}
_IDENTITY: Final = ("address", "name", "phone")
_PLACE: Final = ("place", "city", "cities", "unlisted_city", "unlisted_province", "unlisted_county", "postal")
_PLACED: Final = ("address", "drop", "pickup", "first_pickup")
"""What has a place: the id is in `in_<what>`, its columns are `<what>_<part>`."""
LATE_OF_PICKUP: Final = tuple(f"pickup_{part}" for part in _PLACE)
LATE: Final = {
    **{f"{what}_{part}": f"in_{what}" for what in _PLACED for part in _PLACE},
    "drop_status": "drop_nth",
    "other_order_id": "other_order",
    "other_differs_in": "differs_in",
}
"""The columns that `told` adds, and what number each is made of."""
_WORDS: Final = {
    "drop_nth": pl.Series([*DROPS, None]),
    "differs_in": pl.Series(
        [
            ", ".join(trait for at, trait in enumerate(_IDENTITY) if bits >> at & 1) or None
            for bits in range(1 << len(_IDENTITY))
        ]
    ),
}
"""By number; by `NONE`, the last."""

_NO_IDS: Final = np.empty(0, np.int32)
_ANYWHERE: Final = np.zeros(1, np.bool_)


def _among(names: frozenset[str]) -> Bools:
    return np.array([name in names for name in STATUSES])


_IS_MOVING, _IS_AT_HUB, _IS_TURNED_BACK = _among(MOVING), _among(AT_HUB), _among(TURNED_BACK)
_DROP_RANK: Final = np.array([DROPS.index(name) if name in DROPS else NONE for name in STATUSES])


class Views(NamedTuple):
    """What rules are asked about, for some orders."""

    order: pl.DataFrame
    """`order`, `platform`, `merchant`, `category` (ids, `NONE` without a payment), `promised` (hours, or `NONE`), `in_address`, and
    the other ORDER columns; a row for each of the orders, in the order in which they were given."""
    shipment: pl.DataFrame
    """And `waybill` (as uploaded), `scanned`, and the SHIPMENT columns, but for those that `told` adds."""
    pickup: pl.DataFrame
    """And the PICKUP columns, but for those that `told` adds. A shipment that was not picked up again has no row, or one with
    nulls in these, if it was asked for. Without a row it has no columns either, as the next."""
    aftersale: pl.DataFrame
    """And `case` and the AFTERSALE columns, without those of shipments."""
    exemptions: pl.DataFrame
    """`order`, `rules` (bits), and in µs, `UNKNOWN` where there is none: `extended_to` (else exempt altogether), `applies_from` and
    `applies_until` (else always)."""


class _Uploads(NamedTuple):
    """The earliest upload of each waybill for each order."""

    order: Ints
    waybill: Ints
    at: Times
    ordinary: Bools
    """Whether any was not for an after-sales case."""


class _Reuses(NamedTuple):
    """Of uploads of a waybill that another order used before, the latest such upload by somebody else."""

    order: Ints
    waybill: Ints
    other_order: Ints
    other_at: Times
    differs_in: Ints
    """A bit for each of `_IDENTITY`."""


class _Pickups(NamedTuple):
    """The pickup scans of waybills that have several."""

    scanned: Ints
    in_pickup: Ints
    at: Times
    in_first_pickup: Ints
    """The place of the waybill's first pickup that names a city."""


def condense(facts: Facts, orders: Ints, within_origin: Bools = _ANYWHERE, pickups_of: Ints = _NO_IDS) -> Views:
    """Return the views of `orders` (distinct ids).

    `within_origin` says by platform, and at last for those without one, whether a transfer counts there only in the province that
    the parcel started from. Shipments of the waybills `pickups_of` have a row in the view of pickups in any case.
    """
    every_upload = facts.uploads_by_order.rows(orders)
    uploads = _earliest_uploads(facts, every_upload)
    sharing = _sharing(facts, _distinct(uploads.waybill, len(facts.waybills)))
    known_orders = np.concatenate([orders, np.setdiff1d(sharing.order, orders)])
    at_order = _positions(known_orders, len(facts.orders))
    rows = facts.facts_by_order.rows(known_orders)
    known = _orders(facts, rows, at_order, known_orders)
    first_uploaded_at = _least(
        at_order[facts.uploads["order"][every_upload]],
        facts.uploads["at"][every_upload],
        len(orders),
        of=facts.uploads["case"][every_upload] == NONE,
    )
    by_order = {name: known[name][: len(orders)] for name in _ORDER_COLUMNS}
    by_order |= {"in_address": known["place"][: len(orders)], "first_uploaded_at": first_uploaded_at}

    owner = at_order[uploads.order]
    scanned = _scanned(facts, uploads.waybill, within_origin[known["platform"][owner]])
    trajectories, pickups = _trajectories(facts, scanned)
    order = pl.DataFrame(_columns(by_order))
    shipment = rows_of(order, owner).hstack(
        _columns(
            {
                "waybill": uploads.waybill,
                "scanned": scanned,
                "uploaded_at": uploads.at,
                "uploaded_for_order": uploads.ordinary,
                **trajectories,
                **_others(uploads, _reuses(facts, sharing, known, at_order)),
            }
        )
    )
    several = np.isin(scanned, pickups.scanned) | np.isin(uploads.waybill, pickups_of)
    return Views(
        order,
        shipment,
        _picked_up(shipment, several, pickups),
        _cases(facts, order, at_order, every_upload),
        _exemptions(facts, by_order),
    )


def told(rows: pl.DataFrame, facts: Facts, names: Iterable[str]) -> list[pl.Series]:
    """Return columns of `LATE` for rows of the views of shipments and of pickups: what is known by number, in words."""
    columns = []
    for name in names:
        number = rows[LATE[name]].to_numpy()
        if LATE[name] == "other_order":
            column = facts.orders.names(number)["order_id"]
        elif LATE[name] in _WORDS:
            column = _WORDS[LATE[name]][number]
        else:
            column = facts.places.part(name.removeprefix(f"{LATE[name].removeprefix('in_')}_"), number)
        columns.append(column.alias(name))
    return columns


_ORDER_COLUMNS: Final = ("order", "platform", "merchant", "category", "paid_at", "promised", "cancelled_at")
_GRANTED: Final = ("rules", "extended_to", "applies_from", "applies_until")


def _columns(values: Mapping[str, npt.NDArray[Any]]) -> list[pl.Series]:
    """Return `values` as columns, of times where they are called so."""
    return [time_column(name, some) if name.endswith("_at") else column(name, some) for name, some in values.items()]


def _positions(ids: Ints, count: int) -> Ints:
    """Return the position of each of the distinct `ids` by id; what the others have is undefined. There are `count` in all."""
    at = np.empty(count, np.int32)
    at[ids] = np.arange(len(ids), dtype=np.int32)
    return at


def _distinct(ids: Ints, count: int) -> Ints:
    """Return the distinct `ids`, of which there are `count` in all, in order."""
    there = np.zeros(count, np.bool_)
    there[ids] = True
    return np.flatnonzero(there).astype(np.int32)


def _least(owner: Ints, at: Times, count: int, *, of: Bools | None = None) -> Times:
    """Return the earliest time of each owner's rows (`of` which it is asked), `NEVER` where there are none."""
    least = np.full(count, NEVER, np.int64)
    if of is None:
        np.minimum.at(least, owner, at)
    else:
        np.minimum.at(least, owner[of], at[of])
    return least


def _extreme(owner: Ints, count: int, *keys: npt.NDArray[Any], last: bool = False) -> Ints:
    """Return the position of each owner's row that comes first (or last) by `keys`, `NONE` where it has none."""
    nth = np.full(count, NONE, np.int32)
    nth[owner] = np.arange(len(owner), dtype=np.int32)
    again = np.flatnonzero(np.bincount(owner, minlength=count)[owner] > 1)
    if again.size:
        by = again[np.lexsort([key[again] for key in (*reversed(keys), owner)])]
        other = owner[by][1:] != owner[by][:-1]
        by = by[np.append(other, True) if last else np.append(True, other)]
        nth[owner[by]] = by
    return nth


def _scanned(facts: Facts, waybills: Ints, bound: Bools) -> Ints:
    """Return the waybill whose scans count for each of `waybills`; where it is `bound`, only transfers near the origin do."""
    scanned = facts.in_force(waybills)
    bound = bound & facts.replacements_by_old.own_any(waybills)
    if bound.any():
        replaced = distinct(waybills[bound])
        scanned = scanned.copy()
        scanned[bound] = in_force_within_origin(facts, replaced)[np.searchsorted(replaced, waybills[bound])]
    return scanned


def _earliest_uploads(facts: Facts, rows: Ints) -> _Uploads:
    """Return the uploads in `rows`, of those of one waybill for one order the earliest; by order, then waybill."""
    table = facts.uploads
    pair = _pair(table["order"][rows], table["waybill"][rows])
    by = np.argsort(pair)
    pair, rows = pair[by], rows[by]
    first = np.flatnonzero(begins(pair))
    at, ordinary = table["at"][rows], table["case"][rows] == NONE
    if len(first) < len(rows):
        at, ordinary = np.minimum.reduceat(at, first), np.logical_or.reduceat(ordinary, first)
    rows = rows[first]
    return _Uploads(table["order"][rows], table["waybill"][rows], at, ordinary)


def _sharing(facts: Facts, waybills: Ints) -> _Uploads:
    """Return the uploads of those of `waybills` (distinct) that several orders have."""
    rows = facts.uploads_by_waybill.rows(waybills)
    if len(rows) == len(waybills):
        return _earliest_uploads(facts, _NO_IDS)
    at = _positions(waybills, len(facts.waybills))
    owner = at[facts.uploads["waybill"][rows]]
    uploads = _earliest_uploads(facts, rows[np.bincount(owner)[owner] > 1])
    owner = at[uploads.waybill]
    several = np.bincount(owner, minlength=1)[owner] > 1
    order, waybill, earliest, ordinary = uploads
    return _Uploads(order[several], waybill[several], earliest[several], ordinary[several])


def _orders(facts: Facts, rows: Ints, at_order: Ints, orders: Ints) -> dict[str, npt.NDArray[Any]]:
    """Return what is in force of each order: the earliest payment, the latest address, the earliest cancellation.

    Facts that contradict each other at one moment are told apart by their content, never by arrival.
    """
    table, count = facts.order_facts, len(orders)
    owner, kind = at_order[table["order"][rows]], table["kind"][rows]
    at, digest = table["at"][rows], table["digest"][rows]

    def rows_of(these: npt.NDArray[np.intp], *, last: bool = False) -> Ints:
        nth = _extreme(owner[these], count, at[these], digest[these], last=last)
        return taken(rows[these], nth, NONE)

    paid = rows_of(np.flatnonzero(kind == _PAID))
    known = {
        "order": orders,
        **{
            name: taken(table[name], paid, NONE).astype(np.int32)
            for name in ("platform", "merchant", "category", "place")
        },
        "promised": taken(table["ship_within_hours"], paid, NONE).astype(np.int32),
        **{name: taken(table[name], paid, 0) for name in _IDENTITY},
        "paid_at": taken(table["at"], paid, UNKNOWN),
        "cancelled_at": _least(owner, at, count, of=kind == _CANCELLED),
    }
    changed = np.flatnonzero(kind == _ADDRESS_CHANGED)
    if changed.size:
        changes = rows[changed]
        to_others = changed[(table["name"][changes] != 0) | (table["phone"][changes] != 0)]
        for these, names in ((changed, ("place", "address")), (to_others, ("name", "phone"))):
            latest = rows_of(these, last=True)
            for name in names:
                known[name][latest >= 0] = table[name][latest[latest >= 0]]
    return known


def _reuses(facts: Facts, sharing: _Uploads, known: Mapping[str, npt.NDArray[Any]], at_order: Ints) -> _Reuses:
    """Return which of `sharing` come after an upload by somebody else.

    "Before" is by time, then order id. Else is who differs in name, phone or address, where both orders give one. In a run of
    uploads that agree, the latest that differs from the last is the one before the run.
    """
    if not len(sharing.order):
        return _Reuses(*sharing[:2], sharing.order, sharing.at, sharing.order)
    uses = pl.DataFrame({"waybill": sharing.waybill, "at": sharing.at}).hstack(facts.orders.names(sharing.order))
    by = uses.select(pl.arg_sort_by("waybill", "at", "order_id")).to_series().to_numpy()
    order, waybill, at, _ = (column[by] for column in sharing)
    latest, differs_in = np.full(len(by), NONE, np.int32), np.zeros(len(by), np.uint8)
    for nth, trait in enumerate(_IDENTITY):
        value = known[trait][at_order[order]]
        given = np.flatnonzero(value)
        if not given.size:
            continue
        value, of = value[given], waybill[given]
        first = begins(of)
        run = np.maximum.accumulate(np.where(first | begins(value), np.arange(len(given)), 0))
        later = ~first[run]
        use, before = given[later], given[run[later] - 1]
        differs_in[use[before > latest[use]]] = 0
        differs_in[use[before >= latest[use]]] |= np.uint8(1 << nth)
        latest[use] = np.maximum(latest[use], before)
    found = latest != NONE
    other = latest[found]
    return _Reuses(order[found], waybill[found], order[other], at[other], differs_in[found])


def _others(uploads: _Uploads, reuses: _Reuses) -> dict[str, npt.NDArray[Any]]:
    """Return the reuse columns of `uploads`, which are sorted."""
    columns: dict[str, npt.NDArray[Any]] = {
        "other_order": np.full(len(uploads.order), NONE, np.int32),
        "other_uploaded_at": np.full(len(uploads.order), UNKNOWN, np.int64),
        "differs_in": np.zeros(len(uploads.order), np.uint8),
    }
    if len(reuses.order):
        pairs, wanted = _pair(uploads.order, uploads.waybill), _pair(reuses.order, reuses.waybill)
        at = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
        here = pairs[at] == wanted  # The others are uploads for orders that are not asked about.
        columns["other_order"][at[here]] = reuses.other_order[here]
        columns["other_uploaded_at"][at[here]] = reuses.other_at[here]
        columns["differs_in"][at[here]] = reuses.differs_in[here]
    return columns


def _pair(orders: Ints, waybills: Ints) -> npt.NDArray[np.int64]:
    return orders.astype(np.int64) << 32 | waybills


def _trajectories(facts: Facts, scanned: Ints) -> tuple[dict[str, npt.NDArray[Any]], _Pickups]:
    """Return what the scans of each of `scanned` say, and the pickup scans of those that have several."""
    waybills = _distinct(scanned, len(facts.waybills))
    count, at_waybill = len(waybills), _positions(waybills, len(facts.waybills))
    owner, rows = facts.scans_by_waybill.owned(waybills)
    owner, at = at_waybill[owner], facts.scans["at"][rows]
    status, place = facts.scans["status"][rows], facts.scans["place"][rows].astype(np.int32)

    is_pickup = status == _STATUS[PICKED_UP]
    picked_up_at = _least(owner, at, count, of=is_pickup)
    after = _IS_MOVING[status] & (at > picked_up_at[owner])
    last_scanned_at = np.full(count, UNKNOWN, np.int64)
    np.maximum.at(last_scanned_at, owner, at)
    turned_back = np.zeros(count, np.bool_)
    turned_back[owner[_IS_TURNED_BACK[status]]] = True
    drops = np.flatnonzero(_DROP_RANK[status] != NONE)
    drop_at, drop_nth, in_drop = _drops(facts, owner[drops], at[drops], _DROP_RANK[status[drops]], place[drops], count)
    by_waybill = {
        "picked_up_at": picked_up_at,
        "moved_at": _least(owner, at, count, of=after),
        "first_hub_at": _least(owner, at, count, of=after & _IS_AT_HUB[status]),
        "last_scanned_at": last_scanned_at,
        "turned_back": turned_back,
        "drop_at": drop_at,
        "drop_nth": drop_nth,
        "in_drop": in_drop,
    }
    pickups = np.flatnonzero(is_pickup)
    pickups = pickups[np.bincount(owner[pickups], minlength=count)[owner[pickups]] > 1]
    first = _first_placed(facts, owner[pickups], at[pickups], place[pickups], count)
    several = _Pickups(waybills[owner[pickups]], place[pickups], at[pickups], first[owner[pickups]])
    shipment = at_waybill[scanned]
    return {name: values[shipment] for name, values in by_waybill.items()}, several


def _drops(facts: Facts, owner: Ints, at: Times, rank: Ints, place: Ints, count: int) -> tuple[Times, Ints, Ints]:
    """Return the time, rank and place of each waybill's last drop; at one moment by rank, then by what the place says."""
    moment = at * len(DROPS) + rank
    last = np.full(count, UNKNOWN, np.int64)
    np.maximum.at(last, owner, moment)
    latest = np.flatnonzero(moment == last[owner])
    owner, at, rank, place = owner[latest], at[latest], rank[latest], place[latest]
    drop_at, drop_nth = np.full(count, UNKNOWN, np.int64), np.full(count, NONE, np.int32)
    drop_at[owner], drop_nth[owner] = at, rank
    return drop_at, drop_nth, _of_one_moment(facts, owner, place, count)


def _first_placed(facts: Facts, owner: Ints, at: Times, place: Ints, count: int) -> Ints:
    """Return the place of each waybill's first pickup that names a city, `NONE` where none does."""
    named = np.flatnonzero(facts.places.name_a_city(place))
    owner, at, place = owner[named], at[named], place[named]
    earliest = np.flatnonzero(at == _least(owner, at, count)[owner])
    return _of_one_moment(facts, owner[earliest], place[earliest], count)


def _of_one_moment(facts: Facts, owner: Ints, place: Ints, count: int) -> Ints:
    """Return the place of each owner, `NONE` for the others; of several that which is first by what it says, never by arrival."""
    places = np.full(count, NONE, np.int32)
    places[owner] = place
    tied = np.isin(owner, owner[places[owner] != place])
    if tied.any():
        ties = pl.DataFrame({"owner": owner[tied], "id": place[tied]})
        ties = ties.hstack([facts.places.part(part, place[tied]) for part in _PLACE])
        cities = pl.col("cities").cast(pl.List(pl.String)).list.join(" ")
        ties = ties.sort("owner", *(part for part in _PLACE if part != "cities"), cities, nulls_last=True)
        first = begins(ties["owner"].to_numpy())
        places[ties["owner"].to_numpy()[first]] = ties["id"].to_numpy()[first]
    return places


def _picked_up(shipment: pl.DataFrame, these: Bools, pickups: _Pickups) -> pl.DataFrame:
    """Return the view of pickups: a row per pickup of each of `these` shipments, one with nulls where it has no other."""
    rows = np.flatnonzero(these).astype(np.int32)
    if not rows.size:
        return pl.DataFrame()
    nth, pickup = pairs(shipment["scanned"].to_numpy()[rows], pickups.scanned)
    alone = np.setdiff1d(np.arange(len(rows)), nth)
    pickup = np.append(pickup, np.full(len(alone), NONE, np.int32))
    return rows_of(shipment, rows[np.append(nth, alone)]).hstack(
        [
            column("in_pickup", taken(pickups.in_pickup, pickup, NONE)),
            time_column("pickup_at", taken(pickups.at, pickup, UNKNOWN)),
            column("in_first_pickup", taken(pickups.in_first_pickup, pickup, NONE)),
        ]
    )


def _cases(facts: Facts, orders: pl.DataFrame, at_order: Ints, uploads: Ints) -> pl.DataFrame:
    """Return a row per case that was opened: of each event the earliest, at one moment by what it says.

    `uploads` are the rows of all uploads for these orders.
    """
    table = facts.case_facts
    rows = facts.cases_by_order.rows(orders["order"].to_numpy())
    if not rows.size:
        return pl.DataFrame()
    cases = distinct(table["case"][rows])
    owner, count = np.searchsorted(cases, table["case"][rows]).astype(np.int32), len(cases)
    kind, at, word = table["kind"][rows], table["at"][rows], table["word"][rows].astype(np.int32)
    first = {of: _least(owner, at, count, of=kind == nth) for nth, of in enumerate(CASE_KINDS)}
    said = {}
    for of in ("aftersale_opened", "aftersale_answered"):
        these = np.flatnonzero(kind == CASE_KINDS.index(of))
        said[of] = taken(word[these], _extreme(owner[these], count, at[these], word[these]), NONE)
    sent = uploads[np.isin(facts.uploads["case"][uploads], cases)]
    again = np.searchsorted(cases, facts.uploads["case"][sent]).astype(np.int32)
    resent_at = _least(again, facts.uploads["at"][sent], count)
    opened_at, answered_at = first["aftersale_opened"], first["aftersale_answered"]
    resend = said["aftersale_opened"] == CASE_WORDS.index(AftersaleKind.RESEND)
    agreed = said["aftersale_answered"] == CASE_WORDS.index(AftersaleAnswer.AGREED)
    order = np.empty(count, np.int32)
    order[owner] = at_order[table["order"][rows]]
    opened = opened_at != NEVER
    columns = {
        "case": cases,
        "opened_at": opened_at,
        "answered_at": answered_at,
        "return_uploaded_at": first["return_waybill_uploaded"],
        "received_at": first["return_received"],
        "refunded_at": first["refunded"],
        "resent_at": resent_at,
        "refund_asked_at": np.where(resend, NEVER, opened_at),
        "resend_asked_at": np.where(resend, opened_at, NEVER),
        "wants_return": said["aftersale_opened"] == CASE_WORDS.index(AftersaleKind.RETURN_REFUND),
        "agreed_at": np.where(agreed, answered_at, NEVER),
        "rejected_at": np.where(agreed, NEVER, answered_at),
        "settled_at": np.minimum.reduce([first["refunded"], resent_at, first["aftersale_closed"]]),
    }
    return rows_of(orders, order[opened]).hstack(_columns({name: some[opened] for name, some in columns.items()}))


def _exemptions(facts: Facts, by_order: Mapping[str, npt.NDArray[Any]]) -> pl.DataFrame:
    """Return the exemptions of orders, each order's own and those that it comes under."""
    rows = facts.exemptions_by_order.rows(by_order["order"])
    own = pl.DataFrame([column(name, facts.own_exemptions[name][rows]) for name in ("order", *_GRANTED)])
    if not len(facts.exemptions):
        return own
    orders = {name: by_order[name] for name in ("order", "platform", "merchant")}
    there = facts.places.divisions_of(by_order["in_address"])
    return pl.concat([own, *_of_many(facts, pl.DataFrame({**orders, "division": there}))])


def _of_many(facts: Facts, orders: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the exemptions of many orders that each of `orders` (`order`, `platform`, `merchant`, `division`) comes under."""
    granted = facts.exemptions.frame(np.arange(len(facts.exemptions), dtype=np.int32)).with_columns(
        pl.col("platform", "merchant", "division").cast(pl.Int32)
    )
    # By merchant they may be thousands, each for few orders.
    named = orders.join(granted.filter(pl.col("merchant") != NONE), on="merchant", suffix="_granted")
    on_platform = (pl.col("platform_granted") == NONE) | (pl.col("platform_granted") == pl.col("platform"))
    region = named["division_granted"].to_numpy()
    there = pl.Series((region == NONE) | lie_in(named["division"].to_numpy(), region))
    under = [named.filter(there).filter(on_platform).select("order", *_GRANTED)]
    platforms, divisions = orders["platform"].to_numpy(), orders["division"].to_numpy()
    of_all = granted.filter(pl.col("merchant") == NONE)
    for platform, region, *said in of_all.select("platform", "division", *_GRANTED).iter_rows():
        covered = ((platform == NONE) | (platforms == platform)) & ((region == NONE) | lie_in(divisions, region))
        under.append(
            orders.filter(pl.Series(covered)).select(
                "order",
                **{name: pl.lit(value, granted.schema[name]) for name, value in zip(_GRANTED, said, strict=True)},
            )
        )
    return under
