"""Asks one rule about one row, in the words of the contract. Read this first.

Times are hours after a fixed moment; `US` is the smallest step past a boundary.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import polars as pl

from detectors import RULES, DeadlineRule, Given, deadline_of
from detectors._contract import lie_apart
from detectors._facts import COMPARED
from schemas.frames import TIME

START: Final = datetime(2026, 11, 1, tzinfo=UTC)
US: Final = 1 / 3_600_000_000

_TIMES: Final = (
    "paid_at", "cancelled_at", "first_uploaded_at", "uploaded_at", "picked_up_at", "moved_at", "first_hub_at", "last_scanned_at",
    "drop_at", "other_uploaded_at", "pickup_at", "opened_at", "refund_asked_at", "resend_asked_at", "answered_at", "agreed_at",
    "rejected_at", "return_uploaded_at", "received_at", "refunded_at", "resent_at", "settled_at",
    *(deadline_of(rule.after) for rule in RULES.values() if isinstance(rule, DeadlineRule) and rule.after),
)  # fmt: skip
_PLACE: Final = ("place", "city", "unlisted_city", "unlisted_province", "unlisted_county", "postal")
_TEXTS: Final = (
    "drop_status", "other_order_id", "other_differs_in",
    *(f"{one}_{part}" for one in ("drop", "address", "pickup", "first_pickup") for part in _PLACE),
)  # fmt: skip
_SCHEMA: Final = pl.Schema(
    {
        **dict.fromkeys(_TIMES, TIME),
        **dict.fromkeys(_TEXTS, pl.String()),
        **{f"{one}_cities": pl.List(pl.Int32()) for one in ("drop", "address", "pickup", "first_pickup")},
        "ship_within_hours": pl.Int32(),
        "turned_back": pl.Boolean(),
        "uploaded_for_order": pl.Boolean(),
        "wants_return": pl.Boolean(),
    }
)


_ORDINARY: Final = {"turned_back": False, "uploaded_for_order": True, "wants_return": True}


class Answer(NamedTuple):
    """What a rule said, in hours after `START`."""

    violated_at: float | None
    due_at: float | None
    evidence: dict[str, Any]


def ask(rule: str, *, as_of: float | None = None, extended_to: float | None = None, **row: Any) -> Answer:
    """Ask `rule`, with its own limit, about a row in which all that is not given is unknown."""
    values = {name: _moment(value) if name in _TIMES else value for name, value in (_ORDINARY | row).items()}
    frame = pl.DataFrame([values], schema=_SCHEMA).with_columns(
        lie_apart(one, other).alias(f"{one}_elsewhere_than_{other}") for one, other in COMPARED
    )
    limit_hours = RULES[rule].limit_hours
    limit = timedelta(hours=limit_hours) if limit_hours is not None else None
    given = Given(pl.lit(limit, pl.Duration("us")), pl.lit(_moment(extended_to), TIME), pl.lit(_moment(as_of), TIME))
    answer = frame.select(
        violated_at=RULES[rule].violated_at(given), due_at=RULES[rule].due_at(given)
    ).row(0, named=True)  # fmt: skip
    evidence = frame.select(**RULES[rule].evidence(given)).row(0, named=True)
    return Answer(_hours(answer["violated_at"]), _hours(answer["due_at"]), evidence)


def violated(rule: str, **row: Any) -> float | None:
    """Return when `rule` says it was violated."""
    return ask(rule, **row).violated_at


def _moment(hours: float | None) -> datetime | None:
    return None if hours is None else START + timedelta(microseconds=round(hours * 3_600_000_000))


def _hours(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - START) / timedelta(hours=1)
