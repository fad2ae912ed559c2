"""What the oracle reads of single facts: when they happened, and what exemptions do to an obligation."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

Fact = Mapping[str, Any]

HOUR: Final = timedelta(hours=1)


@cache
def moment(text: str) -> datetime:
    """Return the time that `text` (RFC 3339) names, in UTC."""
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def at(fact: Fact) -> datetime:
    """Return when the fact happened."""
    return moment(fact["occurred_at"])


def received_at(fact: Fact) -> datetime:
    """Return when the platform learned of the fact."""
    return moment(fact.get("received_at") or fact["occurred_at"])


def earliest(times: Iterable[datetime]) -> datetime | None:
    """Return the smallest of the times, or None when there are none."""
    return min(times, default=None)


def by_time_and_content(fact: Fact) -> tuple[datetime, str]:
    """Order facts by time, and at one time by what they say, never by when they arrived."""
    content = {key: value for key, value in fact.items() if key not in {"event_id", "received_at", "occurred_at"}}
    return at(fact), repr(sorted(content.items(), key=lambda item: item[0]))


class Due(NamedTuple):
    """What had to have `happened` by `deadline` (before any extension), unless it was `lifted` by then."""

    deadline: datetime
    happened: datetime | None
    lifted: datetime | None


# ----------------------------------------------------------------------------------------------------------- exemptions


def applies(exemption: Fact, rule: str, when: datetime) -> bool:
    """Return whether the exemption is for this rule and this obligation.

    `when` is the deadline before any extension (for rules without a deadline: the violation). With `applies_from` or
    `applies_until` it must lie in that period, both ends included.
    """
    begin, end = exemption.get("applies_from"), exemption.get("applies_until")
    in_period = (not begin or moment(begin) <= when) and (not end or when <= moment(end))
    return in_period and (rule in exemption["rules"] or "*" in exemption["rules"])


def moved(exemptions: Iterable[Fact], rule: str, deadline: datetime) -> datetime:
    """An exemption with `extended_to` moves the deadlines of its rules to that time, where that is later."""
    extensions = [moment(e["extended_to"]) for e in exemptions if e.get("extended_to") and applies(e, rule, deadline)]
    return max([deadline, *extensions])


def excused(exemptions: Iterable[Fact], rule: str, when: datetime) -> bool:
    """An exemption without `extended_to` makes the flags of its rules `exempt`."""
    return any(not e.get("extended_to") and applies(e, rule, when) for e in exemptions)


class Clock(NamedTuple):
    """The time, and how long before a deadline a warning is due; None: never."""

    as_of: datetime
    warn: timedelta | None


def verdict(
    rule: str, outcome: Due | datetime | None, exemptions: Iterable[Fact], clock: Clock
) -> tuple[datetime, str] | None:
    """Return since when the rule is violated (or will be) and the status of its flag, or None when there is no flag.

    "Missed(D, X)": X happened after D, or has not happened and the clock is past D; and the obligation was not lifted at
    or before D.
    """
    if outcome is None:
        return None
    if isinstance(outcome, datetime):
        return outcome, "exempt" if excused(exemptions, rule, outcome) else "open"
    deadline = moved(exemptions, rule, outcome.deadline)
    exempt = excused(exemptions, rule, outcome.deadline)
    if outcome.lifted is not None and outcome.lifted <= deadline:
        return None
    if (outcome.happened or clock.as_of) > deadline:
        return deadline, "exempt" if exempt else "open"
    near = clock.warn is not None and clock.as_of > deadline - clock.warn
    return (deadline, "at_risk") if near and outcome.happened is None and not exempt else None
