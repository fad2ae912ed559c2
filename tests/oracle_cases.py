"""The oracle's rules about after-sales cases: a case is one `aftersale_id` of one order.

A rule says what was due, or None while it has nothing to ask.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tests.oracle_facts import Due, Fact, at, by_time_and_content, earliest, moved
from tests.oracle_profiles import Platform, Terms

ABOUT_CASE: Final = {
    "aftersale_opened",
    "aftersale_answered",
    "return_waybill_uploaded",
    "return_received",
    "refunded",
    "resend_shipped",
    "aftersale_closed",
}
ANSWERED: Final = {
    "refund_only": "aftersale_answer_overdue",
    "return_refund": "aftersale_answer_overdue",
    "resend": "resend_answer_overdue",
}
"""By the kind of a case, the rule about its answer."""


@dataclass(frozen=True)
class Case:
    """A case that was opened, and when what happened in it: of several events of one type the earliest counts."""

    kind: str
    opened: datetime
    answered: datetime | None
    answer: str | None
    return_uploaded: datetime | None
    return_received: datetime | None
    refunded: datetime | None
    resent: datetime | None
    closed: datetime | None
    terms: Terms
    exemptions: list[Fact]

    @property
    def lifted(self) -> datetime | None:
        """Rules about cases are lifted by `aftersale_closed`, by `refunded` and by `resend_shipped`, the earliest of them."""
        return earliest(time for time in (self.closed, self.refunded, self.resent) if time is not None)

    @property
    def agreed(self) -> datetime | None:
        """With D the deadline of the answer (moved by exemptions of the answer's rule):

        the time of the first answer if that was `agreed` at or before D; D itself if there was no answer by D (the platform
        agrees by default, an answer after D changes nothing); never if the first answer was `rejected` at or before D.
        """
        rule = ANSWERED[self.kind]
        deadline = moved(self.exemptions, rule, self.opened + self.terms.limit(rule))
        if self.answered is None or self.answered > deadline:
            return deadline
        return self.answered if self.answer == "agreed" else None

    @property
    def received(self) -> datetime | None:
        """The time of `return_received` if at or before the deadline D of `return_receipt_overdue` (as moved), else D itself."""
        rule = "return_receipt_overdue"
        if self.return_uploaded is None:
            return None
        deadline = moved(self.exemptions, rule, self.return_uploaded + self.terms.limit(rule))
        in_time = self.return_received is not None and self.return_received <= deadline
        return self.return_received if in_time else deadline

    def due(self, rule: str, start: datetime | None, happened: datetime | None) -> Due | None:
        """Return that something was due so long after `start`; None without one."""
        return None if start is None else Due(start + self.terms.limit(rule), happened, self.lifted)


def case_of(facts: Iterable[Fact], platform: Platform, paid: datetime | None, exemptions: list[Fact]) -> Case | None:
    """Return the case that these facts are about; None without `aftersale_opened`: the rules wait."""
    first: dict[str, Fact] = {}
    for fact in sorted(facts, key=by_time_and_content):
        first.setdefault(fact["type"], fact)
    opened = first.get("aftersale_opened")
    if opened is None:
        return None

    def when(kind: str) -> datetime | None:
        return at(first[kind]) if kind in first else None

    return Case(
        kind=opened["kind"],
        opened=at(opened),
        answered=when("aftersale_answered"),
        answer=first["aftersale_answered"]["answer"] if "aftersale_answered" in first else None,
        return_uploaded=when("return_waybill_uploaded"),
        return_received=when("return_received"),
        refunded=when("refunded"),
        resent=when("resend_shipped"),
        closed=when("aftersale_closed"),
        terms=platform.terms(at(opened), paid),
        exemptions=exemptions,
    )


# ------------------------------------------------------------------------------------------- the rules: what was due


def aftersale_answer_overdue(case: Case) -> Due | None:
    """Missed(opened + 48 h, answered), of cases `refund_only` and `return_refund`."""
    asked = case.kind in {"refund_only", "return_refund"}
    return case.due("aftersale_answer_overdue", case.opened, case.answered) if asked else None


def return_shipment_overdue(case: Case) -> Due | None:
    """Missed(agreed + 168 h, return waybill uploaded), of cases `return_refund`."""
    asked = case.kind == "return_refund"
    return case.due("return_shipment_overdue", case.agreed, case.return_uploaded) if asked else None


def return_receipt_overdue(case: Case) -> Due | None:
    """Missed(return waybill uploaded + 168 h, return received)."""
    return case.due("return_receipt_overdue", case.return_uploaded, case.return_received)


def refund_overdue(case: Case) -> Due | None:
    """Missed(received + 48 h, refunded), of cases with a return waybill."""
    return case.due("refund_overdue", case.received, case.refunded)


def resend_answer_overdue(case: Case) -> Due | None:
    """Missed(opened + 48 h, answered), of cases `resend`."""
    return case.due("resend_answer_overdue", case.opened, case.answered) if case.kind == "resend" else None


def resend_overdue(case: Case) -> Due | None:
    """Missed(agreed + 48 h, resend shipped), of cases `resend`."""
    return case.due("resend_overdue", case.agreed, case.resent) if case.kind == "resend" else None


CASE_RULES: Final = (
    aftersale_answer_overdue,
    return_shipment_overdue,
    return_receipt_overdue,
    refund_overdue,
    resend_answer_overdue,
    resend_overdue,
)
