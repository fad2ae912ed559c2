"""The facts in memory: an index of what the database holds, packed in columns, found by order and by waybill.

A set of facts: adding one again changes nothing. Subjects whose judgement can no longer change by the clock leave memory;
when a fact about one of them arrives after all, its facts are brought back first (`missing`, `restore`), so that no
judgement is made on half a history.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from detectors import RULES
from detectors._facts import STATUSES
from pipeline.arrays import ABSENT, NONE, Bools, Chains, Ints, Keys, Table
from pipeline.places import Places, squash
from schemas.events import AftersaleAnswer, AftersaleKind, ReplacementKind
from schemas.frames import FACTS

Times = npt.NDArray[np.int64]

NEVER: Final = np.iinfo(np.int64).max
"""A time that does not come (µs since 1970)."""
UNKNOWN: Final = np.iinfo(np.int64).min
"""No time given."""

KINDS: Final = ("order_paid", "order_cancelled", "address_changed", "exemption_granted")
CASE_KINDS: Final = (
    "aftersale_opened",
    "aftersale_answered",
    "return_waybill_uploaded",
    "return_received",
    "refunded",
    "aftersale_closed",
)
CASE_WORDS: Final = tuple(sorted(word.value for word in (*AftersaleKind, *AftersaleAnswer)))
"""What a case is of, and what it was answered."""
FLAG_STATUSES: Final = ("open", "cleared", "exempt", "at_risk", "averted")
"""`averted`: it was at risk, never violated, and is nothing any more."""
RULE_CODES: Final = tuple(RULES)

_ORDER_FACTS: Final = {
    "order": np.int32,
    "kind": np.uint8,
    "at": np.int64,
    "digest": np.uint64,
    "platform": np.int32,
    "merchant": np.int32,
    "ship_within_hours": np.int32,
    "category": np.int32,
    "place": np.int32,
    "name": np.uint64,
    "phone": np.uint64,
    "address": np.uint64,
    "rules": np.uint64,
    "extended_to": np.int64,
    "applies_from": np.int64,
    "applies_until": np.int64,
}
_UPLOADS: Final = {"order": np.int32, "waybill": np.int32, "case": np.int32, "at": np.int64, "digest": np.uint64}
_SCANS: Final = {"waybill": np.int32, "at": np.int64, "status": np.uint8, "place": np.int32, "digest": np.uint64}
_REPLACEMENTS: Final = {
    "waybill": np.int32,
    "new": np.int32,
    "at": np.int64,
    "correction": np.bool_,
    "place": np.int32,
    "digest": np.uint64,
}
_CASE_FACTS: Final = {
    "order": np.int32,
    "case": np.int32,
    "kind": np.uint8,
    "word": np.uint8,
    "at": np.int64,
    "digest": np.uint64,
}
_EXEMPTIONS: Final = {
    "platform": np.int32,
    "merchant": np.int32,
    "division": np.int32,
    "rules": np.uint64,
    "extended_to": np.int64,
    "applies_from": np.int64,
    "applies_until": np.int64,
    "digest": np.uint64,
}
_FLAGS: Final = {
    "order": np.int32,
    "waybill": np.int32,
    "case": np.int32,
    "rule": np.uint8,
    "status": np.uint8,
    "violated_at": np.int64,
    "detected_at": np.int64,
    "evidence": np.uint64,
}


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
        self.order_facts, self.facts_by_order = Table(_ORDER_FACTS), Chains()
        self.uploads, self.uploads_by_order, self.uploads_by_waybill = Table(_UPLOADS), Chains(), Chains()
        self.scans, self.scans_by_waybill = Table(_SCANS), Chains()
        self.replacements = Table(_REPLACEMENTS)
        self.replacements_by_old, self.replacements_by_new = Chains(), Chains()
        self.case_facts, self.cases_by_order = Table(_CASE_FACTS), Chains()
        self.case_state = Table({"order": np.int32})
        self.exemptions = Table(_EXEMPTIONS)
        """Of many orders each, by what they have in common. All of them stay: they are few, and new orders may come under them."""
        self.flags, self.flags_by_order = Table(_FLAGS), Chains()
        self.order_state = Table({"due": np.int64, "touched": np.int64})
        self.waybill_state = Table({"replaced_by": np.int32, "touched": np.int64})

    def missing(self, facts: Mapping[str, pl.DataFrame]) -> tuple[pl.Series, pl.DataFrame]:
        """Return the order ids and waybills of `facts` whose own facts are in the database only."""
        orders = [frame.select("order_id") for frame in facts.values() if "order_id" in frame.columns]
        waybills = [
            facts[name].select("carrier", "waybill_no")
            for name in ("uploads", "scans", "replacements")
            if name in facts
        ]
        if "replacements" in facts:
            waybills.append(facts["replacements"].select(carrier="new_carrier", waybill_no="new_waybill_no"))
        away = [
            keys.filter(pl.Series(index.find(keys) == ABSENT))
            for index, frames in ((self.orders, orders), (self.waybills, waybills))
            for keys in [pl.concat([pl.DataFrame(schema=index.schema), *frames]).unique()]
        ]
        return away[0]["order_id"], away[1]

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
        touched = Touched(*(np.unique(np.concatenate(ids)) for ids in (orders, waybills, identities)))
        self._grow_state()
        for state, ids in ((self.order_state, touched.orders), (self.waybill_state, touched.waybills)):
            state["touched"][ids] = np.maximum(state["touched"][ids], now)
        return new, touched

    def orders_due(self, clock: int) -> Ints:
        """Return the orders with a deadline that `clock` (µs) has passed."""
        return np.flatnonzero(self.order_state["due"] < clock).astype(np.int32)

    def orders_to_judge(self, touched: Touched) -> Ints:
        """Return the orders whose flags may differ by what was `touched`."""
        waybills = touched.waybills
        if len(self.replacements):
            reached = waybills
            while reached.size:  # A scan counts for every waybill that a chain of replacements leads from.
                older = np.unique(self.replacements["waybill"][self.replacements_by_new.rows(reached)])
                reached = np.setdiff1d(older, waybills)
                waybills = np.union1d(waybills, reached)
        shared = np.unique(self.uploads["waybill"][self.uploads_by_order.rows(touched.identities)])
        by_waybill = self.uploads["order"][self.uploads_by_waybill.rows(np.union1d(waybills, shared))]
        return np.union1d(touched.orders, by_waybill)

    def in_force(self, waybills: Ints) -> Ints:
        """Return the waybill whose scans count for each of `waybills`: replacements followed, cycles not entered twice."""
        if not len(self.replacements):
            return waybills
        return follow(waybills, self.waybill_state["replaced_by"].__getitem__)

    def set_due(self, orders: Ints, due: Times) -> None:
        """Note when each of `orders` has to be judged again."""
        self.order_state["due"][orders] = due

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
            "status": _code(flags["status"], FLAG_STATUSES),
            "violated_at": _micros(flags["violated_at"]),
            "detected_at": _micros(flags["detected_at"]),
            "evidence": evidence_digest(flags["evidence"]),
        }
        self._grow_state()
        self.flags.append(rows, len(flags))
        self.flags_by_order.append(owners, len(self.orders))

    def forget_before(self, before: int) -> "Facts":
        """Return these facts without the subjects not heard of since `before` (µs) that wait for nothing.

        Orders and waybills that uploads or replacements link leave together or not at all.
        """
        keep_order = (self.order_state["due"] != NEVER) | (self.order_state["touched"] >= before)
        keep_waybill = self.waybill_state["touched"] >= before
        links = (
            (keep_order, self.uploads["order"], keep_waybill, self.uploads["waybill"]),
            (keep_waybill, self.replacements["waybill"], keep_waybill, self.replacements["new"]),
        )
        kept = -1
        while kept != (kept := int(keep_order.sum() + keep_waybill.sum())):
            for keep_one, one, keep_other, other in links:
                keep_other[other[keep_one[one]]] = True
                keep_one[one[keep_other[other]]] = True
        return self._only(keep_order, keep_waybill)

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
        owners = self.orders.add(frame)
        digest = _digest(frame)
        new = self._unknown(owners, digest, self.order_facts, self.facts_by_order)
        frame, owners, digest = frame.filter(new), owners[new], digest[new]
        address = squash(
            pl.concat_str("province", "city", "district", "detail", "place_text", ignore_nulls=True, separator="")
        )
        rows: dict[str, npt.ArrayLike] = {
            "order": owners,
            "kind": _code(frame["type"], KINDS),
            "at": _micros(frame["occurred_at"]),
            "digest": digest,
            "platform": _where_given(self.platforms.add, frame, "platform"),
            "merchant": _where_given(self.merchants.add, frame, "merchant_id"),
            "ship_within_hours": frame["ship_within_hours"].fill_null(NONE).to_numpy(),
            "category": _where_given(self.categories.add, frame, "category"),
            "place": self.places.add(frame, scanned=False),
            "name": _hash_or_0(frame.select(pl.col("name_hash"))),
            "phone": _hash_or_0(frame.select(pl.col("phone_hash"))),
            "address": _hash_or_0(frame.select(address)),
            "rules": _rule_bits(frame["rules"]),
            **{name: _micros(frame[name]) for name in ("extended_to", "applies_from", "applies_until")},
        }
        self.order_facts.append(rows, len(frame))
        self.facts_by_order.append(owners, len(self.orders))
        return self._located(frame, rows), owners

    def _add_uploads(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints, Ints]:
        orders, waybills, digest = self.orders.add(frame), self.waybills.add(frame), _digest(frame)
        new = self._unknown(orders, digest, self.uploads, self.uploads_by_order)
        frame, orders, waybills, digest = frame.filter(new), orders[new], waybills[new], digest[new]
        rows: dict[str, npt.ArrayLike] = {
            "order": orders,
            "waybill": waybills,
            "case": self._case_ids(frame, orders),
            "at": _micros(frame["occurred_at"]),
            "digest": digest,
        }
        self.uploads.append(rows, len(frame))
        self.uploads_by_order.append(orders, len(self.orders))
        self.uploads_by_waybill.append(waybills, len(self.waybills))
        return frame, orders, waybills

    def _add_scans(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
        owners, digest = self.waybills.add(frame), _digest(frame)
        new = self._unknown(owners, digest, self.scans, self.scans_by_waybill)
        frame, owners, digest = frame.filter(new), owners[new], digest[new]
        rows: dict[str, npt.ArrayLike] = {
            "waybill": owners,
            "at": _micros(frame["occurred_at"]),
            "status": _code(frame["status"], STATUSES),
            "place": self.places.add(frame, scanned=True),
            "digest": digest,
        }
        self.scans.append(rows, len(frame))
        self.scans_by_waybill.append(owners, len(self.waybills))
        return self._located(frame, rows), owners

    def _add_replacements(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
        old, digest = self.waybills.add(frame), _digest(frame)
        following = self.waybills.add(frame.select(carrier="new_carrier", waybill_no="new_waybill_no"))
        new = self._unknown(old, digest, self.replacements, self.replacements_by_old)
        frame, old, following, digest = frame.filter(new), old[new], following[new], digest[new]
        placed: dict[str, npt.ArrayLike] = {
            "waybill": old,
            "new": following,
            "at": _micros(frame["occurred_at"]),
            "correction": frame["kind"].eq_missing(ReplacementKind.CORRECTION.value).to_numpy(),
            "place": self.places.add(frame.with_columns(description=pl.lit(None, pl.String)), scanned=True),
            "digest": digest,
        }
        self.replacements.append(placed, len(frame))
        self.replacements_by_old.append(old, len(self.waybills))
        self.replacements_by_new.append(following, len(self.waybills))
        self._grow_state()
        rows = self.replacements.frame(self.replacements_by_old.rows(np.unique(old)), "waybill", "new", "at")
        names = self.waybills.names(rows["new"].to_numpy())
        latest = rows.hstack(names).sort("waybill", "at", "carrier", "waybill_no").unique("waybill", keep="last")
        self.waybill_state["replaced_by"][latest["waybill"].to_numpy()] = latest["new"].to_numpy()
        return self._located(frame, placed), old

    def _located(self, frame: pl.DataFrame, rows: Mapping[str, npt.ArrayLike]) -> pl.DataFrame:
        """Fill in the `division` of each row's place."""
        division = pl.Series(self.places.divisions_of(np.asarray(rows["place"])))
        return frame.with_columns(division=division.set(division == 0, None))

    def _add_case_facts(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
        orders, digest = self.orders.add(frame), _digest(frame)
        new = self._unknown(orders, digest, self.case_facts, self.cases_by_order)
        frame, orders, digest = frame.filter(new), orders[new], digest[new]
        words = pl.coalesce("kind", "answer").fill_null(CASE_WORDS[0])
        rows: dict[str, npt.ArrayLike] = {
            "order": orders,
            "case": self._case_ids(frame, orders),
            "kind": _code(frame["type"], CASE_KINDS),
            "word": _code(frame.select(words).to_series(), CASE_WORDS),
            "at": _micros(frame["occurred_at"]),
            "digest": digest,
        }
        self.case_facts.append(rows, len(frame))
        self.cases_by_order.append(orders, len(self.orders))
        return frame, orders

    def _case_ids(self, frame: pl.DataFrame, orders: Ints) -> Ints:
        """Return the id of each row's case, `NONE` where it has none; `orders` are the rows' orders."""
        given = frame["aftersale_id"].is_not_null().to_numpy()
        ids = np.full(len(frame), NONE, np.int32)
        if given.any():
            ids[given] = self.cases.add(frame.filter(pl.Series(given)))
            if (count := len(self.cases) - len(self.case_state)) > 0:
                self.case_state.append({"order": NONE}, count)
            self.case_state["order"][ids[given]] = orders[given]
        return ids

    def _add_exemptions(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
        """Add exemptions of many orders, and return those that were new and the orders in memory that come under them."""
        digest = _digest(frame)
        new = np.zeros(len(frame), np.bool_)
        new[np.unique(digest, return_index=True)[1]] = True
        new &= ~np.isin(digest, self.exemptions["digest"])
        frame = frame.filter(new)
        rows: dict[str, npt.ArrayLike] = {
            "platform": _where_given(self.platforms.add, frame, "platform"),
            "merchant": _where_given(self.merchants.add, frame, "merchant_id"),
            "division": frame["division"].fill_null(NONE).to_numpy(),
            "rules": _rule_bits(frame["rules"]),
            **{name: _micros(frame[name]) for name in ("extended_to", "applies_from", "applies_until")},
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
            covered = np.unique(self.order_facts["order"][paid])
            if region != NONE:
                covered = np.intersect1d(covered, self.order_facts["order"][lie_in(there, region)])
            touched.append(covered)
        return frame, np.unique(np.concatenate(touched))

    @staticmethod
    def _unknown(owners: Ints, digest: npt.NDArray[np.uint64], table: Table, chains: Chains) -> npt.NDArray[np.bool_]:
        """Return which rows are facts seen for the first time: neither in the table nor earlier among these."""
        new = pl.Series(digest).is_first_distinct().to_numpy(writable=True)
        known = pl.Series(table["digest"][chains.rows(np.unique(owners))])
        if len(known):
            new &= ~pl.Series(digest).is_in(known.implode()).to_numpy()
        return new

    def _grow_state(self) -> None:
        if (count := len(self.orders) - len(self.order_state)) > 0:
            self.order_state.append({"due": NEVER, "touched": UNKNOWN}, count)
        if (count := len(self.waybills) - len(self.waybill_state)) > 0:
            self.waybill_state.append({"replaced_by": NONE, "touched": UNKNOWN}, count)

    def _only(self, keep_order: Bools, keep_waybill: Bools) -> "Facts":
        kept = Facts()
        kept.orders, kept.waybills = self.orders.kept(keep_order), self.waybills.kept(keep_waybill)
        kept.platforms, kept.merchants, kept.places = self.platforms, self.merchants, self.places
        kept.categories, kept.exemptions = self.categories, self.exemptions
        new_order, new_waybill = _renumbered(keep_order), _renumbered(keep_waybill)
        kept.order_state = _filtered(self.order_state, keep_order)
        kept.waybill_state = _filtered(self.waybill_state, keep_waybill)
        replaced_by = kept.waybill_state["replaced_by"]
        replaced_by[:] = np.where(replaced_by >= 0, new_waybill[replaced_by], NONE)
        by_order, by_waybill = ("order", new_order), ("waybill", new_waybill)
        kept.order_facts = _filtered(self.order_facts, keep_order[self.order_facts["order"]], by_order)
        keep_case = keep_order[self.case_state["order"]]
        kept.cases, by_case = self.cases.kept(keep_case), ("case", _renumbered(keep_case))
        kept.case_state = _filtered(self.case_state, keep_case, by_order)
        kept.case_facts = _filtered(self.case_facts, keep_order[self.case_facts["order"]], by_order, by_case)
        kept.uploads = _filtered(self.uploads, keep_order[self.uploads["order"]], by_order, by_waybill, by_case)
        kept.scans = _filtered(self.scans, keep_waybill[self.scans["waybill"]], by_waybill)
        kept_replacements = keep_waybill[self.replacements["waybill"]]
        kept.replacements = _filtered(self.replacements, kept_replacements, by_waybill, ("new", new_waybill))
        kept.flags = _filtered(self.flags, keep_order[self.flags["order"]], by_order, by_waybill, by_case)
        for chains, table, owner, owners in (
            (kept.facts_by_order, kept.order_facts, "order", kept.orders),
            (kept.uploads_by_order, kept.uploads, "order", kept.orders),
            (kept.uploads_by_waybill, kept.uploads, "waybill", kept.waybills),
            (kept.scans_by_waybill, kept.scans, "waybill", kept.waybills),
            (kept.replacements_by_old, kept.replacements, "waybill", kept.waybills),
            (kept.replacements_by_new, kept.replacements, "new", kept.waybills),
            (kept.cases_by_order, kept.case_facts, "order", kept.orders),
            (kept.flags_by_order, kept.flags, "order", kept.orders),
        ):
            chains.append(table[owner], len(owners))
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
_TABLE_OF: Final = {
    **dict.fromkeys(KINDS, "order_facts"),
    **dict.fromkeys(("waybill_uploaded", "resend_shipped"), "uploads"),
    "scan": "scans",
    "waybill_replaced": "replacements",
    **dict.fromkeys(CASE_KINDS, "aftersale_facts"),
}
"""Where an event's fact goes, by type; exemptions of many orders have a table of their own."""


def split(events: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return `EVENTS` rows as facts, by table of `FACTS`; only tables that have any."""
    tables = events["type"].replace_strict(list(_TABLE_OF), list(_TABLE_OF.values()), return_dtype=pl.String)
    many = (events["type"] == "exemption_granted") & events["order_id"].is_null()
    tables = tables.set(many, "exemptions")
    parts = {name: events.filter(tables == name).select(schema.names()) for name, schema in FACTS.items()}
    return {name: part for name, part in parts.items() if len(part)}


def evidence_digest(evidence: pl.Series) -> npt.NDArray[np.uint64]:
    """Return what tells one evidence from another."""
    return evidence.hash(seed=3).to_numpy()


def _digest(frame: pl.DataFrame) -> npt.NDArray[np.uint64]:
    """Return what tells one fact from another: everything but how and when it came."""
    content = [
        pl.col(name).list.join("\n") if dtype == pl.List else pl.col(name)
        for name, dtype in frame.schema.items()
        if name not in {"event_id", "received_at", "division"}
    ]
    return frame.select(pl.struct(content).hash(seed=2).alias("digest"))["digest"].to_numpy()


def _micros(times: pl.Series) -> Times:
    return times.to_physical().fill_null(UNKNOWN).to_numpy()


def _code(values: pl.Series, names: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    return values.replace_strict(names, range(len(names)), return_dtype=pl.UInt8).to_numpy()


def _hash_or_0(column: pl.DataFrame) -> npt.NDArray[np.uint64]:
    text = column.to_series()
    return text.hash(seed=1).set(text.is_null(), 0).to_numpy()


def _where_given(add: Callable[[pl.DataFrame], Ints], frame: pl.DataFrame, column: str) -> Ints:
    given = frame[column].is_not_null().to_numpy()
    ids = np.full(len(frame), NONE, np.int32)
    if given.any():
        ids[given] = add(frame.filter(pl.Series(given)))
    return ids


def _rule_bits(rules: pl.Series) -> npt.NDArray[np.uint64]:
    """Return the rules named, a bit each; `*` is all of them, a code that is no rule is none."""
    named = pl.DataFrame({"rules": rules})
    bits = [
        pl.when(pl.col("rules").list.contains(code) | pl.col("rules").list.contains("*")).then(1 << at).otherwise(0)
        for at, code in enumerate(RULE_CODES)
    ]
    return named.select(bits=pl.sum_horizontal(bits).cast(pl.UInt64))["bits"].to_numpy()


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
