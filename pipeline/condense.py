"""Facts condensed to the views that rules are asked about: one row per order, per shipment, per repeated pickup.

The vocabulary and its meaning are in `detectors._facts`. Keys stay numbers here (`order`, `waybill`, `scanned`, …).
"""

from typing import Final, NamedTuple

import numpy as np
import polars as pl

from detectors._facts import AT_HUB, DROPS, MOVING, PICKED_UP, STATUSES, TURNED_BACK
from pipeline.arrays import NONE, Ints
from pipeline.facts import Facts, lie_in
from pipeline.packing import CASE_KINDS, CASE_WORDS, KINDS, UNKNOWN
from pipeline.transfers import in_force_within_origin
from schemas.events import AftersaleAnswer, AftersaleKind
from schemas.frames import TIME

_PAID, _CANCELLED, _ADDRESS_CHANGED = range(len(KINDS))
_STATUS: Final = {name: code for code, name in enumerate(STATUSES)}
_DROP_CODES: Final = [_STATUS[name] for name in DROPS]
_TIE: Final = len(DROPS)
"""Room for the rank among drops in `time * _TIE + rank`."""
_IDENTITY: Final = ("name", "phone", "address")
_PLACE: Final = ("place", "city", "cities", "unlisted_city", "unlisted_province", "unlisted_county", "postal")


_NOWHERE: Final = pl.lit(value=False)


class Views(NamedTuple):
    """What rules are asked about, for some orders."""

    order: pl.DataFrame
    """`order`, `platform`, `merchant` (ids) and the ORDER columns."""
    shipment: pl.DataFrame
    """And `waybill` (as uploaded) and the SHIPMENT columns."""
    pickup: pl.DataFrame
    """And the PICKUP columns; a shipment that was not picked up again has one row, and nulls in these."""
    aftersale: pl.DataFrame
    """And `case` and the AFTERSALE columns, without those of shipments."""
    exemptions: pl.DataFrame
    """`order`, `rules` (bits), `extended_to` (null: exempt altogether), `applies_from` and `applies_until` (null: always)."""


def condense(facts: Facts, orders: Ints, within_origin: pl.Expr = _NOWHERE) -> Views:
    """Return the views of `orders` (distinct ids).

    `within_origin` says of `platform` (an id) whether a transfer counts there only in the province that the parcel started from.
    """
    uploads = _earliest_uploads(facts, facts.uploads_by_order.rows(orders))
    waybills = uploads["waybill"].unique().to_numpy()
    sharing = _earliest_uploads(facts, facts.uploads_by_waybill.rows(waybills))
    sharing = sharing.filter(pl.col("order").n_unique().over("waybill") > 1)
    known_orders = np.union1d(orders, sharing["order"].to_numpy())
    order_facts = facts.order_facts.frame(facts.facts_by_order.rows(known_orders))

    first_uploads = (
        facts.uploads.frame(facts.uploads_by_order.rows(orders), "order", "case", "at")
        .filter(pl.col("case") == NONE)
        .group_by("order")
        .agg(first_uploaded_at=pl.col("at").min().cast(TIME))
    )
    details = _orders(order_facts, known_orders)
    in_view = details.filter(pl.col("order").is_in(pl.Series(orders).implode())) if len(sharing) else details
    by_order = in_view.join(first_uploads, on="order", how="left")

    scanned = _scanned(facts, uploads.join(by_order.select("order", "platform"), on="order"), within_origin)
    scans = facts.scans_of(scanned["scanned"].unique().to_numpy())
    places = facts.places.resolved.with_row_index("place_id").with_columns(pl.col("place_id").cast(pl.Int32))
    trajectories, pickups = _trajectories(scans, places)
    shipment = (
        uploads.join(by_order, on="order")
        .join(scanned, on=["order", "waybill"])
        .join(trajectories, on="scanned", how="left")
        .join(_named(places, "address"), left_on="place", right_on="place_id", how="left")
        .join(_reuses(facts, sharing, details), on=["order", "waybill"], how="left")
        .with_columns(pl.col("turned_back").fill_null(value=False))
    )
    pickup = shipment.join(pickups, on="scanned", how="left")
    return Views(by_order, shipment, pickup, _cases(facts, by_order), _exemptions(facts, orders, by_order))


def _scanned(facts: Facts, uploads: pl.DataFrame, within_origin: pl.Expr) -> pl.DataFrame:
    """Return, for `order` and `waybill` of `uploads`, the waybill whose scans count, `scanned`."""
    uploads = uploads.select("order", "waybill", bound=within_origin)
    waybills = uploads["waybill"].unique().to_numpy()
    ends = pl.DataFrame({"waybill": waybills, "scanned": facts.in_force(waybills)})
    ends = uploads.join(ends, on="waybill")
    bound = uploads.filter("bound")["waybill"].unique().to_numpy()
    if len(facts.replacements) and bound.size:
        nearby = pl.DataFrame({"waybill": bound, "nearby": in_force_within_origin(facts, bound)})
        ends = ends.join(nearby, on="waybill", how="left").with_columns(
            scanned=pl.when("bound").then("nearby").otherwise("scanned")
        )
    return ends.select("order", "waybill", "scanned")


def _time(name: str) -> pl.Expr:
    return pl.when(pl.col(name) != UNKNOWN).then(pl.col(name)).cast(TIME)


def _earliest_uploads(facts: Facts, rows: Ints) -> pl.DataFrame:
    uploads = facts.uploads.frame(rows, "order", "waybill", "case", "at")
    return uploads.group_by("order", "waybill").agg(
        uploaded_at=pl.col("at").min().cast(TIME), uploaded_for_order=(pl.col("case") == NONE).any()
    )


def _orders(facts: pl.DataFrame, orders: Ints) -> pl.DataFrame:
    """Return what is in force of each order: the earliest payment, the latest address, the earliest cancellation."""
    # Facts that contradict each other at one moment are told apart by their content, never by arrival.
    facts = facts.sort("order", "at", "digest")
    paid = facts.filter(pl.col("kind") == _PAID).unique("order", keep="first", maintain_order=True)
    frame = pl.DataFrame({"order": orders}).join(
        paid.select(
            "order", "platform", "merchant", "category", "place", *_IDENTITY, _hours(), paid_at=pl.col("at").cast(TIME)
        ),
        on="order",
        how="left",
    )
    changes = facts.filter(pl.col("kind") == _ADDRESS_CHANGED)
    if len(changes):
        addresses = changes.unique("order", keep="last", maintain_order=True).select("order", "place", "address")
        recipients = changes.filter((pl.col("name") != 0) | (pl.col("phone") != 0))
        recipients = recipients.unique("order", keep="last", maintain_order=True).select("order", "name", "phone")
        for newer in (addresses, recipients):
            frame = frame.update(newer, on="order")
    cancelled = (
        facts.filter(pl.col("kind") == _CANCELLED).group_by("order").agg(cancelled_at=pl.col("at").min().cast(TIME))
    )
    return frame.join(cancelled, on="order", how="left")


def _hours() -> pl.Expr:
    hours = pl.col("ship_within_hours")
    return pl.when(hours != NONE).then(hours).alias("ship_within_hours")


def _cases(facts: Facts, orders: pl.DataFrame) -> pl.DataFrame:
    """Return a row per case that was opened: of each event the earliest, at one moment by what it says."""
    owners = orders["order"].to_numpy()
    frame = facts.case_facts.frame(facts.cases_by_order.rows(owners), "order", "case", "kind", "word", "at", "digest")
    sent = facts.uploads.frame(facts.uploads_by_order.rows(owners), "case", "at").filter(pl.col("case") != NONE)
    resent = sent.group_by("case").agg(resent_at=pl.col("at").min().cast(TIME))
    first = frame.sort("at", "word", "digest").group_by("case", maintain_order=True)
    opened, answered, returned, received, refunded, closed = (
        pl.col("kind") == CASE_KINDS.index(kind)
        for kind in ("aftersale_opened", "aftersale_answered", "return_waybill_uploaded", "return_received", "refunded",
                     "aftersale_closed")
    )  # fmt: skip
    at, word = pl.col("at").cast(TIME), pl.col("word")
    cases = first.agg(
        pl.col("order").first(),
        opened_at=at.filter(opened).first(),
        of_kind=word.filter(opened).first(),
        answered_at=at.filter(answered).first(),
        answer=word.filter(answered).first(),
        return_uploaded_at=at.filter(returned).first(),
        received_at=at.filter(received).first(),
        refunded_at=at.filter(refunded).first(),
        closed_at=at.filter(closed).first(),
    ).filter(pl.col("opened_at").is_not_null())
    resend = pl.col("of_kind") == CASE_WORDS.index(AftersaleKind.RESEND)
    agreed = pl.col("answer") == CASE_WORDS.index(AftersaleAnswer.AGREED)
    return (
        cases.join(resent, on="case", how="left")
        .with_columns(
            refund_asked_at=pl.when(~resend).then("opened_at"),
            resend_asked_at=pl.when(resend).then("opened_at"),
            wants_return=pl.col("of_kind") == CASE_WORDS.index(AftersaleKind.RETURN_REFUND),
            agreed_at=pl.when(agreed).then("answered_at"),
            rejected_at=pl.when(~agreed).then("answered_at"),
            settled_at=pl.min_horizontal("refunded_at", "resent_at", "closed_at"),
        )
        .join(orders, on="order")
    )


def _exemptions(facts: Facts, ids: Ints, orders: pl.DataFrame) -> pl.DataFrame:
    """Return the exemptions of `orders` (with these `ids`), each order's own and those that it comes under."""
    what = ("order", "rules", _time("extended_to"), _time("applies_from"), _time("applies_until"))
    own = facts.own_exemptions.frame(facts.exemptions_by_order.rows(ids)).select(what)
    if not len(facts.exemptions):
        return own
    of_many = pl.DataFrame({name: facts.exemptions[name] for name in facts.exemptions.names})
    scoped = [own]
    # By merchant they may be thousands, each for few orders.
    by_merchant = orders.join(of_many.filter(pl.col("merchant") != NONE), on="merchant", suffix="_named")
    others = orders.join(of_many.filter(pl.col("merchant") == NONE).drop("merchant"), how="cross", suffix="_named")
    on_platform = (pl.col("platform_named") == NONE) | (pl.col("platform_named") == pl.col("platform"))
    for named in (by_merchant, others):
        under = named.filter(on_platform)
        there = facts.places.divisions_of(under["place"].fill_null(NONE).to_numpy())
        region = under["division"].to_numpy()
        scoped.append(under.filter(pl.Series((region == NONE) | lie_in(there, region))).select(what))
    return pl.concat(scoped)


def _trajectories(scans: pl.DataFrame, places: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a row per scanned waybill, and a row per pickup scan of those that have several."""
    at, status = pl.col("at"), pl.col("status")
    is_drop = status.is_in(_DROP_CODES)
    rank = status.replace_strict(_DROP_CODES, range(_TIE), default=0, return_dtype=pl.Int64)
    scans = scans.rename({"waybill": "scanned"}).with_columns(
        pickup=pl.when(status == _STATUS[PICKED_UP]).then(at),
        drop=pl.when(is_drop).then(at * _TIE + rank),
    )
    waybills = scans.group_by("scanned").agg(
        pl.col("pickup").min().alias("picked_up"),
        pl.col("drop").max().alias("last_drop"),
        pl.col("pickup").n_unique().alias("pickups"),  # null counts as one of them
        at.max().cast(TIME).alias("last_scanned_at"),
        status.is_in(_codes(TURNED_BACK)).any().alias("turned_back"),
    )
    scans = scans.join(waybills.select("scanned", "picked_up", "last_drop", "pickups"), on="scanned")
    after_pickup = (
        scans.filter((at > pl.col("picked_up")) & status.is_in(_codes(MOVING)))
        .group_by("scanned")
        .agg(
            moved_at=at.min().cast(TIME),
            first_hub_at=pl.when(status.is_in(_codes(AT_HUB))).then(at).min().cast(TIME),
        )
    )
    drops = scans.filter(pl.col("drop") == pl.col("last_drop")).select(
        "scanned", "place", drop_at=at.cast(TIME), status=status
    )
    drops = drops.join(_named(places, "drop"), left_on="place", right_on="place_id", how="left")
    if len(drops) > drops["scanned"].n_unique():
        drops = drops.sort("scanned", *_in_order("drop"), nulls_last=True)
        drops = drops.unique("scanned", keep="first", maintain_order=True)
    drops = drops.with_columns(drop_status=pl.col("status").replace_strict(_DROP_CODES, DROPS, return_dtype=pl.String))
    trajectories = (
        waybills.select("scanned", "last_scanned_at", "turned_back", picked_up_at=pl.col("picked_up").cast(TIME))
        .join(after_pickup, on="scanned", how="left")
        .join(drops.drop("place", "status"), on="scanned", how="left")
    )
    return trajectories, _pickups(scans.filter(pl.col("pickup").is_not_null()), places)


def _pickups(scans: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    scans = scans.filter(pl.len().over("scanned") > 1)
    pickups = scans.select("scanned", "place", pickup_at=pl.col("pickup").cast(TIME)).join(
        _named(places, "pickup"), left_on="place", right_on="place_id", how="left"
    )
    named = [f"pickup_{part}" for part in _PLACE]
    first = (
        pickups.filter(pl.any_horizontal(pl.col("pickup_cities", "pickup_unlisted_city").is_not_null()))
        .sort("scanned", "pickup_at", *_in_order("pickup"), nulls_last=True)
        .unique("scanned", keep="first", maintain_order=True)
        .select("scanned", *(pl.col(name).alias(f"first_{name}") for name in named))
    )
    return pickups.drop("place").join(first, on="scanned", how="left")


def _reuses(facts: Facts, sharing: pl.DataFrame, orders: pl.DataFrame) -> pl.DataFrame:
    """Return, for uploads of a waybill that another order used before, the latest such upload by somebody else.

    "Before" is by time, then order id. Else is who differs in name, phone or address, where both orders give one. In a run of
    uploads that agree, the latest that differs from the last is the one before the run.
    """
    order_ids = facts.orders.names(sharing["order"].to_numpy())["order_id"]
    uses = (
        sharing.with_columns(order_id=order_ids)
        .join(orders.select("order", *_IDENTITY), on="order", how="left")
        .sort("waybill", "uploaded_at", "order_id")
        .with_row_index("nth")
    )
    found = []
    for trait in _IDENTITY:
        given = uses.filter(pl.col(trait).fill_null(0) != 0).select(
            "waybill", "order", "order_id", "uploaded_at", "nth", trait
        )
        run = pl.col(trait).rle_id().over("waybill")
        given = given.with_columns(run=run, before=pl.struct("order_id", "uploaded_at", "nth").shift(1).over("waybill"))
        found.append(
            given.with_columns(before=pl.col("before").first().over("waybill", "run"))
            .filter(pl.col("run") > 0)
            .select("order", "waybill", pl.lit(trait).alias("trait"), pl.col("before"))
            .unnest("before")
        )
    by_trait = pl.concat(found)
    return (
        by_trait.sort("nth", "trait")
        .group_by("order", "waybill", maintain_order=True)
        .agg(
            other_uploaded_at=pl.col("uploaded_at").last(),
            other_order_id=pl.col("order_id").last(),
            other_differs_in=pl.col("trait").filter(pl.col("nth") == pl.col("nth").last()).str.join(", "),
        )
    )


def _named(places: pl.DataFrame, prefix: str) -> pl.DataFrame:
    return places.select("place_id", *(pl.col(name).alias(f"{prefix}_{name}") for name in _PLACE))


def _in_order(prefix: str) -> list[pl.Expr]:
    """Return what places at one moment are sorted by: what they say, never which came first."""
    texts = [pl.col(f"{prefix}_{name}") for name in _PLACE if name != "cities"]
    return [*texts, pl.col(f"{prefix}_cities").cast(pl.List(pl.String)).list.join(" ")]


def _codes(names: frozenset[str]) -> list[int]:
    return [_STATUS[name] for name in sorted(names)]
