"""Events, facts and flags as columns: the shapes that batches have between the rooms.

All times are microseconds in UTC. Null means "not given" everywhere. A frame is a set of rows: order carries no meaning
unless its docstring says so.
"""

from typing import Final

import polars as pl

TIME: Final = pl.Datetime("us", "UTC")

RECORDS: Final = pl.Schema({"value": pl.Binary(), "source": pl.String(), "position": pl.Int64(), "recorded_at": TIME})
"""What a source hands over, one row per message or line, in reading order.

`source` is `topic/partition`, the absolute path of a file, or `-` for standard input. `position` is the Kafka offset, the
line number (from 1) of NDJSON, or the row number (from 0) of Parquet. `recorded_at` is the Kafka record's timestamp, null in files.
"""

LETTERS: Final = pl.Schema(
    {
        "source": pl.String(),
        "position": pl.Int64(),
        "raw": pl.Binary(),
        "recorded_at": TIME,
        "error": pl.String(),
    }
)
"""Dead letters: records that are no valid event. `error` names each faulty field and what was wrong with it."""

_PLACE: Final = {
    "province": pl.String(),
    "city": pl.String(),
    "district": pl.String(),
    "detail": pl.String(),
    "place_text": pl.String(),
}

EVENTS: Final = pl.Schema(
    {
        "type": pl.String(),
        "occurred_at": TIME,
        "received_at": TIME,
        "event_id": pl.String(),
        "order_id": pl.String(),
        "platform": pl.String(),
        "merchant_id": pl.String(),
        "amount": pl.String(),
        "ship_within_hours": pl.Int32(),
        "category": pl.String(),
        "products": pl.List(pl.String()),
        "name_hash": pl.String(),
        "phone_hash": pl.String(),
        "country": pl.String(),
        **_PLACE,
        "facility": pl.String(),
        "carrier": pl.String(),
        "waybill_no": pl.String(),
        "status": pl.String(),
        "description": pl.String(),
        "new_carrier": pl.String(),
        "new_waybill_no": pl.String(),
        "kind": pl.String(),
        "reason": pl.String(),
        "rules": pl.List(pl.String()),
        "region": pl.String(),
        "extended_to": TIME,
        "applies_from": TIME,
        "applies_until": TIME,
        "aftersale_id": pl.String(),
        "answer": pl.String(),
        "division": pl.Int32(),
    }
)
"""Valid events, one row each, of all types in one frame: what a type does not have is null.

The place columns hold `address` for orders and `location` for scans (`place_text` is its `text`). Names and phones are gone:
`name_hash` and `phone_hash` are keyed hashes of what was given. `received_at` is never null. `division` is the six-digit code of
the smallest administrative division in which the place certainly lies, or of an exemption's region; it is understood from the other
columns, and no part of what tells one fact from another.
"""

FACTS: Final[dict[str, pl.Schema]] = {
    "order_facts": pl.Schema(
        {
            name: EVENTS[name]
            for name in (
                "type", "order_id", "occurred_at", "received_at", "event_id", "platform", "merchant_id", "amount",
                "ship_within_hours", "category", "products", "name_hash", "phone_hash", *_PLACE, "reason", "rules",
                "extended_to", "applies_from", "applies_until", "division",
            )
        }
    ),
    "uploads": pl.Schema(
        {
            name: EVENTS[name]
            for name in ("order_id", "carrier", "waybill_no", "aftersale_id", "occurred_at", "received_at", "event_id")
        }
    ),
    "scans": pl.Schema(
        {
            name: EVENTS[name]
            for name in (
                "carrier", "waybill_no", "status", "occurred_at", "received_at", "event_id", "country",
                "province", "city", "district", "facility", "place_text", "description", "division",
            )
        }
    ),
    "replacements": pl.Schema(
        {
            name: EVENTS[name]
            for name in (
                "carrier", "waybill_no", "new_carrier", "new_waybill_no", "occurred_at", "received_at", "event_id", "kind",
                "country", "province", "city", "district", "facility", "place_text", "reason", "division",
            )
        }
    ),
    "exemptions": pl.Schema(
        {
            name: EVENTS[name]
            for name in (
                "platform", "merchant_id", "region", "occurred_at", "received_at", "event_id", "rules", "extended_to",
                "applies_from", "applies_until", "reason", "division",
            )
        }
    ),
    "aftersale_facts": pl.Schema(
        {
            name: EVENTS[name]
            for name in (
                "type", "order_id", "aftersale_id", "occurred_at", "received_at", "event_id", "kind", "answer", "carrier",
                "waybill_no", "amount", "reason",
            )
        }
    ),
}  # fmt: skip
"""The facts, by table. `order_facts` holds `order_paid`, `order_cancelled`, `address_changed` and the exemptions of single
orders, `exemptions` those of many; `uploads` holds `waybill_uploaded` and (with `aftersale_id`) `resend_shipped`,
`aftersale_facts` all other events about cases.

A fact is all its columns but `event_id`, `received_at` and `division`: the same fact twice is one fact.
"""

FLAG_LOG: Final = pl.Schema(
    {
        "flag_id": pl.String(),
        "rule": pl.String(),
        "clause": pl.String(),
        "severity": pl.String(),
        "platform": pl.String(),
        "merchant_id": pl.String(),
        "order_id": pl.String(),
        "carrier": pl.String(),
        "waybill_no": pl.String(),
        "aftersale_id": pl.String(),
        "violated_at": TIME,
        "detected_at": TIME,
        "status": pl.String(),
        "cleared_at": TIME,
        "evidence": pl.String(),
        "change": pl.String(),
        "reason": pl.String(),
        "changed_at": TIME,
        "compensation_percent": pl.Decimal(9, 4),
        "compensation_yuan": pl.Decimal(9, 2),
    }
)
"""Changes of flags, in the order they were made; the latest row of a `flag_id` is the flag as it stands.

`change` is `opened`, `exempted`, `cleared`, `reopened`, `amended` (as before, but its time or evidence corrected by a late fact),
`warned` (status `at_risk`: `violated_at` is the deadline to come) or `averted` (it was at risk and is no more; status `averted`).
`detected_at` is null while nothing was violated. `reason` says why it was cleared or exempted, `evidence` is a JSON object.
`changed_at` is the pipeline's clock (`as_of`). The compensations are what the platform's profile says of the rule.
"""
