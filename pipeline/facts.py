"""The facts in memory: an index of what the database holds, packed in columns, found by order and by waybill.

A set of facts: adding one again changes nothing. Subjects whose judgement can no longer change by the clock leave memory;
when a fact about one of them arrives after all, its facts are brought back first (`missing`, `restore`), so that no
judgement is made on half a history.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from detectors._facts import STATUSES
from pipeline.arrays import (
    ABSENT,
    NONE,
    Bools,
    Chains,
    Ints,
    Keys,
    SparseChains,
    Table,
    Tables,
    column,
    distinct,
    first_of_each,
    prefixed,
)
from pipeline.packing import (
    CASE_FACTS,
    CASE_KINDS,
    CASE_WORDS,
    EXEMPTIONS,
    FLAG_STATUSES,
    FLAGS,
    KINDS,
    NEVER,
    ORDER_FACTS,
    OWN_EXEMPTIONS,
    REPLACEMENTS,
    RULE_CODES,
    SCANS,
    SECONDS_NEVER,
    UPLOADS,
    Times,
    code,
    digest_of,
    evidence_digest,
    hashes_or_0,
    micros,
    mixed,
    period,
    seconds,
)
from pipeline.places import Places, squash
from schemas.events import ReplacementKind


class Touched(NamedTuple):
    """What new facts are about, as distinct ids."""

    orders: Ints
    """Orders with any new fact of their own, uploads included."""
    waybills: Ints
    """Waybills with a new scan, upload or replacement."""
    identities: Ints
    """Orders whose recipient or address may have changed."""


class Facts:
    """Facts of live orders and waybills, and their flags."""

    def __init__(self) -> None:
        self.orders = Keys("order_id")
        self.waybills = Keys("carrier", "waybill_no")
        self.platforms = Keys("platform")
        self.merchants = Keys("merchant_id")
        self.categories = Keys("category")
        self.cases = Keys("order_id", "aftersale_id")
        self.places = Places()
        self.order_facts, self.facts_by_order = Table(ORDER_FACTS), Chains()
        self.own_exemptions, self.exemptions_by_order = Table(OWN_EXEMPTIONS), SparseChains()
        self.uploads, self.uploads_by_order, self.uploads_by_waybill = Table(UPLOADS), Chains(), Chains()
        self.scans, self.scans_by_waybill = Table(SCANS), Chains()
        self.replacements = Table(REPLACEMENTS)
        self.replacements_by_old, self.replacements_by_new = SparseChains(), SparseChains()
        self.case_facts, self.cases_by_order = Table(CASE_FACTS), SparseChains()
        self.case_state = Table({"order": np.int32})
        self.exemptions = Table(EXEMPTIONS)
        """Of many orders each, by what they have in common. All of them stay: they are few, and new orders may come under them."""
        self.flags, self.flags_by_order = Table(FLAGS), SparseChains()
        self.order_state = Table({"due": np.uint32, "touched": np.uint32})
        self.waybill_state = Table({"touched": np.uint32})

    def missing(self, facts: Mapping[str, pl.DataFrame]) -> tuple[pl.Series, pl.DataFrame]:
        """Return the order ids and waybills of `facts` whose own facts are in the database only."""
        orders = [frame for frame in facts.values() if "order_id" in frame.columns]
        waybills = [facts[name] for name in ("uploads", "scans", "replacements") if name in facts]
        if "replacements" in facts:
            waybills.append(facts["replacements"].select(carrier="new_carrier", waybill_no="new_waybill_no"))
        return _away(self.orders, orders)["order_id"], _away(self.waybills, waybills)

    def add(self, facts: Mapping[str, pl.DataFrame], now: int) -> tuple[dict[str, pl.DataFrame], Touched]:
        """Add `facts` (by table of `FACTS`) and return those that were new, and what they touch.

        `now` (µs) is when these subjects were last heard of.
        """
        new: dict[str, pl.DataFrame] = {}
        orders, waybills, identities = [_NO_IDS], [_NO_IDS], [_NO_IDS]
        if (frame := facts.get("order_facts")) is not None and len(frame):
            new["order_facts"], ids = self._add_order_facts(frame)
            orders.append(ids)
            identities.append(ids[new["order_facts"]["type"].is_in(["order_paid", "address_changed"]).to_numpy()])
        if (frame := facts.get("uploads")) is not None and len(frame):
            new["uploads"], order_ids, waybill_ids = self._add_uploads(frame)
            orders.append(order_ids)
            waybills.append(waybill_ids)
        if (frame := facts.get("scans")) is not None and len(frame):
            new["scans"], ids = self._add_scans(frame)
            waybills.append(ids)
        if (frame := facts.get("replacements")) is not None and len(frame):
            new["replacements"], old_ids = self._add_replacements(frame)
            waybills.append(old_ids)
        if (frame := facts.get("aftersale_facts")) is not None and len(frame):
            new["aftersale_facts"], ids = self._add_case_facts(frame)
            orders.append(ids)
        if (frame := facts.get("exemptions")) is not None and len(frame):
            new["exemptions"], ids = self._add_exemptions(frame)
            orders.append(ids)
        touched = Touched(*(distinct(np.concatenate(ids)) for ids in (orders, waybills, identities)))
        self._grow_state()
        for state, ids in ((self.order_state, touched.orders), (self.waybill_state, touched.waybills)):
            state["touched"][ids] = np.maximum(state["touched"][ids], seconds(now))
        return new, touched

    def orders_due(self, clock: int) -> Ints:
        """Return the orders with a deadline that `clock` (µs) has passed."""
        due = self.order_state["due"]
        return np.flatnonzero((due <= seconds(clock - 1)) & (due != SECONDS_NEVER)).astype(np.int32)

    def orders_to_judge(self, touched: Touched) -> Ints:
        """Return the orders whose flags may differ by what was `touched`."""
        waybills = touched.waybills
        if len(self.replacements):
            reached = waybills
            while reached.size:  # A scan counts for every waybill that a chain of replacements leads from.
                older = distinct(self.replacements["waybill"][self.replacements_by_new.rows(reached)])
                reached = np.setdiff1d(older, waybills)
                waybills = distinct(np.append(waybills, reached))
        shared = distinct(self.uploads["waybill"][self.uploads_by_order.rows(touched.identities)])
        by_waybill = self.uploads["order"][self.uploads_by_waybill.rows(distinct(np.append(waybills, shared)))]
        return distinct(np.append(touched.orders, by_waybill))

    def in_force(self, waybills: Ints) -> Ints:
        """Return the waybill whose scans count for each of `waybills`: replacements followed, cycles not entered twice."""
        return follow(waybills, self._replaced_by) if len(self.replacements) else waybills

    def _replaced_by(self, waybills: Ints) -> Ints:
        """Return what each of `waybills` was replaced by at last, `NONE` where it was not."""
        return self.latest(waybills, self.replacements_by_old.rows(distinct(waybills)))

    def latest(self, waybills: Ints, rows: Ints) -> Ints:
        """Return what each of `waybills` was replaced by at last by `rows` of replacements, `NONE` where by none of these.

        At one moment carrier and number decide, never which came first.
        """
        old, new, at = (self.replacements[name][rows] for name in ("waybill", "new", "at"))
        keys = [at, old]
        if len(distinct(old)) < len(old):
            names = self.waybills.names(new).select(pl.arg_sort_by("carrier", "waybill_no")).to_series().to_numpy()
            keys = [np.argsort(names), at, old]
        by = np.lexsort(keys)
        old, new = np.append(old[by], NONE), new[by]
        last = np.searchsorted(old[:-1], waybills, "right") - 1  # -1: the `NONE` at the end
        return np.where(old[last] == waybills, np.append(new, NONE)[last], NONE).astype(np.int32)

    def set_due(self, orders: Ints, due: Times) -> None:
        """Note when each of `orders` has to be judged again."""
        self.order_state["due"][orders] = np.where(due == NEVER, SECONDS_NEVER, seconds(due))

    def restore_flags(self, flags: pl.DataFrame) -> None:
        """Take the current flags of live orders from the database (`FLAG_LOG` rows)."""
        flags = flags.filter(pl.col("rule").is_in(RULE_CODES))  # A rule that is gone leaves its flags as they are.
        if not len(flags):
            return
        owners = self.orders.add(flags)
        rows: dict[str, npt.ArrayLike] = {
            "order": owners,
            "waybill": _where_given(self.waybills.add, flags, "waybill_no"),
            "case": self._case_ids(flags, owners),
            "rule": flags["rule"].replace_strict(RULE_CODES, range(len(RULE_CODES)), return_dtype=pl.UInt8).to_numpy(),
            "status": code(flags["status"], FLAG_STATUSES),
            "violated_at": micros(flags["violated_at"]),
            "detected_at": micros(flags["detected_at"]),
            "evidence": evidence_digest(flags["evidence"]),
        }
        self._grow_state()
        self.flags.append(rows, len(flags))
        self.flags_by_order.append(owners)

    def forget_before(self, before: int, share_min: float = 0.0) -> "Facts":
        """Return these facts without the subjects not heard of since `before` (µs) that wait for nothing.

        Orders and waybills that uploads or replacements link leave together or not at all. If they are none, or less than this
        share of all, these facts themselves.
        """
        since = seconds(before)
        keep_order = (self.order_state["due"] != SECONDS_NEVER) | (self.order_state["touched"] >= since)
        keep_waybill = self.waybill_state["touched"] >= since
        links = (
            (keep_order, self.uploads["order"], keep_waybill, self.uploads["waybill"]),
            (keep_waybill, self.replacements["waybill"], keep_waybill, self.replacements["new"]),
        )
        kept = -1
        while kept != (kept := int(keep_order.sum() + keep_waybill.sum())):
            for keep_one, one, keep_other, other in links:
                keep_other[other[keep_one[one]]] = True
                keep_one[one[keep_other[other]]] = True
        # To copy all that stays takes seconds by the million, and in the first days all of it does.
        gone = len(keep_order) + len(keep_waybill) - kept
        return self._only(keep_order, keep_waybill) if gone > share_min * (gone + kept) else self

    def tables(self) -> Tables:
        """Return all that is held, but for the flags: those are in the database as they stand."""
        tables: Tables = {}
        for name, part in vars(self).items():
            if part not in (self.flags, self.flags_by_order):
                tables |= {name: part} if isinstance(part, Table) else prefixed(name, part.tables())
        return tables

    def touched_by(self, facts: Mapping[str, pl.DataFrame]) -> Touched:
        """Return what `facts` are about, all of whose subjects are in memory, whether they are new or not."""
        orders = [self.orders.find(frame) for frame in facts.values() if "order_id" in frame.columns]
        waybills = [self.waybills.find(facts[name]) for name in ("uploads", "scans", "replacements") if name in facts]
        ids = [distinct(np.concatenate([_NO_IDS, *found])) for found in (orders, waybills)]
        return Touched(ids[0], ids[1], ids[0])

    def drop(self, orders: pl.DataFrame, waybills: pl.DataFrame) -> None:
        """Know no more of orders and waybills that are in the database no more; none of them is in memory."""
        self.orders.drop(orders)
        self.waybills.drop(waybills)

    def rows(self) -> int:
        """Return how many rows are in memory, of all tables."""
        tables = (self.order_state, self.waybill_state, self.order_facts, self.uploads, self.scans, self.replacements)
        return sum(len(table) for table in (*tables, self.case_facts))

    def size(self) -> dict[str, int]:
        """Return how much is in memory, by kind of thing."""
        return {
            "orders": len(self.orders),
            "waybills": len(self.waybills),
            "scans": len(self.scans),
            "flags": len(self.flags),
        }

    def _add_order_facts(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
        exempts = frame["type"] == "exemption_granted"
        if not exempts.any():
            return self._add_facts_of_orders(frame)
        parts = [self._add_facts_of_orders(frame.filter(~exempts)), self._add_own_exemptions(frame.filter(exempts))]
        return pl.concat([part for part, _ in parts]), np.concatenate([owners for _, owners in parts])

    def _add_facts_of_orders(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
        frame, owners, digest = self._unknown(frame, self.orders, self.order_facts, self.facts_by_order)
        address = squash(
            pl.concat_str("province", "city", "district", "detail", "place_text", ignore_nulls=True, separator="")
        )
        rows: dict[str, npt.ArrayLike] = {
            "order": owners,
            "kind": code(frame["type"], KINDS),
            "at": micros(frame["occurred_at"]),
            "digest": digest,
            "platform": _where_given(self.platforms.add, frame, "platform"),
            "merchant": _where_given(self.merchants.add, frame, "merchant_id"),
            "ship_within_hours": frame["ship_within_hours"].fill_null(NONE).to_numpy(),
            "category": _where_given(self.categories.add, frame, "category"),
            "place": self.places.add(frame, scanned=False),
            **hashes_or_0(frame.select(name="name_hash", phone="phone_hash", address=address)),
        }
        self.order_facts.append(rows, len(frame))
        self.facts_by_order.append(owners, len(self.orders))
        return self._located(frame, rows), owners

    def _add_own_exemptions(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
        frame, owners, digest = self._unknown(frame, self.orders, self.own_exemptions, self.exemptions_by_order)
        rows = {"order": owners, "at": micros(frame["occurred_at"]), "digest": digest, **period(frame)}
        self.own_exemptions.append(rows, len(frame))
        self.exemptions_by_order.append(owners)
        return frame, owners

    def _add_uploads(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints, Ints]:
        frame, orders, digest = self._unknown(frame, self.orders, self.uploads, self.uploads_by_order)
        waybills = self.waybills.add(frame)
        rows: dict[str, npt.ArrayLike] = {
            "order": orders,
            "waybill": waybills,
            "case": self._case_ids(frame, orders),
            "at": micros(frame["occurred_at"]),
            "digest": digest,
        }
        self.uploads.append(rows, len(frame))
        self.uploads_by_order.append(orders, len(self.orders))
        self.uploads_by_waybill.append(waybills, len(self.waybills))
        return frame, orders, waybills

    def _add_scans(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
        frame, owners, digest = self._unknown(frame, self.waybills, self.scans, self.scans_by_waybill)
        rows: dict[str, npt.ArrayLike] = {
            "at": micros(frame["occurred_at"]),
            "status": code(frame["status"], STATUSES),
            "place": self.places.add(frame, scanned=True),
            "digest": digest,
        }
        self.scans.append(rows, len(frame))
        self.scans_by_waybill.append(owners, len(self.waybills))
        return self._located(frame, rows), owners

    def _add_replacements(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
        frame, old, digest = self._unknown(frame, self.waybills, self.replacements, self.replacements_by_old)
        following = self.waybills.add(frame.select(carrier="new_carrier", waybill_no="new_waybill_no"))
        placed: dict[str, npt.ArrayLike] = {
            "waybill": old,
            "new": following,
            "at": micros(frame["occurred_at"]),
            "correction": frame["kind"].eq_missing(ReplacementKind.CORRECTION.value).to_numpy(),
            "place": self.places.add(frame.with_columns(description=pl.lit(None, pl.String)), scanned=True),
            "digest": digest,
        }
        self.replacements.append(placed, len(frame))
        self.replacements_by_old.append(old)
        self.replacements_by_new.append(following)
        return self._located(frame, placed), old

    def _located(self, frame: pl.DataFrame, rows: Mapping[str, npt.ArrayLike]) -> pl.DataFrame:
        """Fill in the `division` of each row's place."""
        division = self.places.divisions_of(np.asarray(rows["place"]))
        return frame.with_columns(column("division", division, division != 0))

    def _add_case_facts(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
        frame, orders, digest = self._unknown(frame, self.orders, self.case_facts, self.cases_by_order)
        words = pl.coalesce("kind", "answer").fill_null(CASE_WORDS[0])
        rows: dict[str, npt.ArrayLike] = {
            "order": orders,
            "case": self._case_ids(frame, orders),
            "kind": code(frame["type"], CASE_KINDS),
            "word": code(frame.select(words).to_series(), CASE_WORDS),
            "at": micros(frame["occurred_at"]),
            "digest": digest,
        }
        self.case_facts.append(rows, len(frame))
        self.cases_by_order.append(orders)
        return frame, orders

    def _case_ids(self, frame: pl.DataFrame, orders: Ints) -> Ints:
        """Return the id of each row's case, `NONE` where it has none; `orders` are the rows' orders."""
        ids = _where_given(self.cases.add, frame, "aftersale_id")
        given = ids != NONE
        if given.any():
            if (count := len(self.cases) - len(self.case_state)) > 0:
                self.case_state.append({"order": NONE}, count)
            self.case_state["order"][ids[given]] = orders[given]
        return ids

    def _add_exemptions(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
        """Add exemptions of many orders, and return those that were new and the orders in memory that come under them."""
        digest = digest_of(frame)
        new = np.zeros(len(frame), np.bool_)
        new[np.unique(digest, return_index=True)[1]] = True
        new &= ~np.isin(digest, self.exemptions["digest"])
        frame = frame.filter(new)
        rows: dict[str, npt.ArrayLike] = {
            "platform": _where_given(self.platforms.add, frame, "platform"),
            "merchant": _where_given(self.merchants.add, frame, "merchant_id"),
            "division": frame["division"].fill_null(NONE).to_numpy(),
            **period(frame),
            "digest": digest[new],
        }
        added = self.exemptions.frame(self.exemptions.append(rows, len(frame)))
        # An address may have changed since the payment: whoever ever was to be delivered there is looked at again.
        there = self.places.divisions_of(self.order_facts["place"])
        touched = [_NO_IDS]
        for platform, merchant, region in added.select("platform", "merchant", "division").unique().iter_rows():
            paid = np.ones(len(self.order_facts), np.bool_)
            for name, value in (("platform", platform), ("merchant", merchant)):
                paid &= (value == NONE) | (self.order_facts[name] == value)
            covered = distinct(self.order_facts["order"][paid])
            if region != NONE:
                covered = np.intersect1d(covered, self.order_facts["order"][lie_in(there, region)])
            touched.append(covered)
        return frame, distinct(np.concatenate(touched))

    @staticmethod
    def _unknown(
        frame: pl.DataFrame, owners: Keys, table: Table, chains: Chains | SparseChains
    ) -> tuple[pl.DataFrame, Ints, npt.NDArray[np.uint32]]:
        """Return the rows of `frame` that are neither in the table nor earlier in the frame, their owners and digests."""
        ids, digest = owners.add(frame), (digest_of(frame) >> np.uint64(32)).astype(np.uint32)
        fact = pl.Series(mixed(ids, digest, micros(frame["occurred_at"])))
        new = fact.is_first_distinct()
        if not new.all():
            # Of those that came together the one that was received first, whatever their order here.
            several = np.flatnonzero(fact.is_duplicated())
            received = frame[["received_at", "event_id"]][several]
            several = several[received.select(pl.arg_sort_by("received_at", "event_id")).to_series().to_numpy()]
            first = new.to_numpy().copy()
            first[several] = first_of_each(fact.to_numpy()[several])
            new = pl.Series(first)
        owner, rows = chains.owned(distinct(ids))
        if rows.size:
            known = pl.Series(mixed(owner, table["digest"][rows], table["at"][rows]))
            new &= ~fact.is_in(known.implode())
        if new.all():
            return frame, ids, digest
        kept = new.to_numpy()
        return frame.filter(new), ids[kept], digest[kept]

    def _grow_state(self) -> None:
        if (count := len(self.orders) - len(self.order_state)) > 0:
            self.order_state.append({"due": SECONDS_NEVER, "touched": 0}, count)
        if (count := len(self.waybills) - len(self.waybill_state)) > 0:
            self.waybill_state.append({"touched": 0}, count)

    def _only(self, keep_order: Bools, keep_waybill: Bools) -> "Facts":
        kept = Facts()
        kept.orders, kept.waybills = self.orders.kept(keep_order), self.waybills.kept(keep_waybill)
        kept.platforms, kept.merchants, kept.places = self.platforms, self.merchants, self.places
        kept.categories, kept.exemptions = self.categories, self.exemptions
        new_order, new_waybill = _renumbered(keep_order), _renumbered(keep_waybill)
        kept.order_state = _filtered(self.order_state, keep_order)
        kept.waybill_state = _filtered(self.waybill_state, keep_waybill)
        by_order, by_waybill = ("order", new_order), ("waybill", new_waybill)
        kept.order_facts = _filtered(self.order_facts, keep_order[self.order_facts["order"]], by_order)
        keep_case = keep_order[self.case_state["order"]]
        kept.cases, by_case = self.cases.kept(keep_case, absent=False), ("case", _renumbered(keep_case))
        kept.case_state = _filtered(self.case_state, keep_case, by_order)
        kept.case_facts = _filtered(self.case_facts, keep_order[self.case_facts["order"]], by_order, by_case)
        kept.uploads = _filtered(self.uploads, keep_order[self.uploads["order"]], by_order, by_waybill, by_case)
        kept.own_exemptions = _filtered(self.own_exemptions, keep_order[self.own_exemptions["order"]], by_order)
        scanned = self.scans_by_waybill.owners()
        keep_scan = keep_waybill[scanned]
        kept.scans = _filtered(self.scans, keep_scan)
        kept.scans_by_waybill.append(new_waybill[scanned[keep_scan]], len(kept.waybills))
        kept_replacements = keep_waybill[self.replacements["waybill"]]
        kept.replacements = _filtered(self.replacements, kept_replacements, by_waybill, ("new", new_waybill))
        kept.flags = _filtered(self.flags, keep_order[self.flags["order"]], by_order, by_waybill, by_case)
        for chains, table, owner, owners in (
            (kept.facts_by_order, kept.order_facts, "order", kept.orders),
            (kept.uploads_by_order, kept.uploads, "order", kept.orders),
            (kept.uploads_by_waybill, kept.uploads, "waybill", kept.waybills),
        ):
            chains.append(table[owner], len(owners))
        for sparse, table, owner in (
            (kept.exemptions_by_order, kept.own_exemptions, "order"),
            (kept.replacements_by_old, kept.replacements, "waybill"),
            (kept.replacements_by_new, kept.replacements, "new"),
            (kept.cases_by_order, kept.case_facts, "order"),
            (kept.flags_by_order, kept.flags, "order"),
        ):
            sparse.append(table[owner])
        return kept


def follow(waybills: Ints, replaced_by: Callable[[Ints], Ints]) -> Ints:
    """Return where the chain of each waybill ends; `replaced_by` gives the next one, below zero where there is none.

    A waybill that the chain has visited ends it.
    """
    now, seen = waybills, [waybills]
    while True:
        following = replaced_by(now)
        following = np.where((following >= 0) & ~np.any([following == one for one in seen], axis=0), following, now)
        if (following == now).all():
            return now
        now = following
        seen.append(now)


def lie_in(divisions: Ints, regions: Ints | int) -> Bools:
    """Return which of `divisions` (six digits) are the region beside them, or a part of it."""
    part = np.where(np.mod(regions, 10_000) == 0, 10_000, np.where(np.mod(regions, 100) == 0, 100, 1))
    same: Bools = divisions // part == regions // part
    return same


_NO_IDS: Final = np.empty(0, np.int32)


def _away(keys: Keys, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the distinct keys in `frames` that are `ABSENT`."""
    none = keys.schema.to_frame()
    if not keys.any_absent():
        return none
    named = [frame[keys.schema.names()] for frame in frames]
    away = [frame[np.flatnonzero(keys.find(frame) == ABSENT)] for frame in named]
    return pl.concat([none, *away]).unique()


def _where_given(add: Callable[[pl.DataFrame], Ints], frame: pl.DataFrame, name: str) -> Ints:
    if not frame[name].null_count():
        return add(frame)
    given = frame[name].is_not_null().to_numpy()
    ids = np.full(len(frame), NONE, np.int32)
    if given.any():
        ids[given] = add(frame.filter(pl.Series(given)))
    return ids


def _renumbered(keep: Bools) -> Ints:
    """Return the new id by old id; the extra last entry maps `NONE` to itself."""
    return np.append(np.where(keep, np.cumsum(keep) - 1, NONE), NONE).astype(np.int32)


def _filtered(table: Table, keep: Bools, *renumber: tuple[str, Ints]) -> Table:
    rows = np.flatnonzero(keep)
    columns = {name: table[name][rows] for name in table.names}
    for name, new_ids in renumber:
        columns[name] = new_ids[columns[name]]
    kept = Table({name: column.dtype for name, column in columns.items()})
    kept.append(columns, len(rows))
    return kept
