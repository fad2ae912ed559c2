"""The stories around after-sales cases: settled in time, exactly on a limit, or too late. See `pipeline.simulation.plans`."""

from functools import partial
from typing import Final

from pipeline.simulation.stories import DAY, HOUR, MINUTE, Case, Order, Plan, Teller

# ---------------------------------------------------------------------------------------------- plans that break no rule


def sent_back_for_a_refund(tell: Teller, order: Order) -> None:
    """Agreed to, sent back, received and refunded, all in good time."""
    case = _after_delivery(tell, order, "return_refund")
    _answer(tell, case)
    received = _send_back(tell, order, case)
    case.received = received
    case.refunded = received + tell.dice.between(10 * MINUTE, 40 * HOUR)


def refunded_without_a_return(tell: Teller, order: Order) -> None:
    """Agreed to and refunded, the goods stay; at times although a return was asked for."""
    case = _after_delivery(tell, order, tell.dice.pick(("refund_only", "refund_only", "return_refund")))
    case.refunded = _answer(tell, case) + tell.dice.between(MINUTE, HOUR)


def refused(tell: Teller, order: Order) -> None:
    """The merchant says no, and that is the end of it."""
    case = _after_delivery(tell, order, tell.dice.pick(("refund_only", "return_refund", "resend")))
    _answer(tell, case)
    case.answer = "rejected"


def withdrawn(tell: Teller, order: Order) -> None:
    """The buyer thinks better of it before the merchant has said anything."""
    case = _after_delivery(tell, order, tell.dice.pick(("refund_only", "return_refund", "resend")))
    case.closed = case.opened + tell.dice.between(HOUR, 40 * HOUR)


def sent_again(tell: Teller, order: Order) -> None:
    """Something was missing, and is sent again."""
    case = _after_delivery(tell, order, "resend")
    _send_again(tell, order, case, _answer(tell, case) + tell.dice.between(HOUR, 40 * HOUR))


# -------------------------------------------------------------------------------------------------- plans that break one


def answered_late(tell: Teller, order: Order) -> None:
    """The merchant lets two days pass; the platform has agreed by then, and the refund is paid."""
    case = _soon(tell, order, tell.dice.pick(("refund_only", "return_refund")))
    case.answered = case.opened + 48 * HOUR + tell.dice.between(MINUTE, 20 * HOUR)
    case.refunded = case.answered + tell.dice.between(MINUTE, HOUR)


def never_sent_back(tell: Teller, order: Order) -> None:
    """The merchant agrees, and the buyer keeps the goods."""
    _answer(tell, _soon(tell, order, "return_refund"))


def received_late(tell: Teller, order: Order) -> None:
    """The merchant confirms days too late what has come back; the refund follows."""
    case = _soon(tell, order, "return_refund")
    case.answered = case.opened + HOUR
    case.sent_back = (case.answered + tell.dice.between(HOUR, 20 * HOUR), tell.parcel(order.merchant))
    case.received = case.sent_back[0] + 7 * DAY + tell.dice.between(MINUTE, 20 * HOUR)
    case.refunded = case.received + tell.dice.between(MINUTE, 20 * HOUR)


def refunded_late(tell: Teller, order: Order) -> None:
    """What came back is confirmed, and then the money takes its time."""
    case = _soon(tell, order, "return_refund")
    _answer(tell, case)
    case.received = _send_back(tell, order, case)
    case.refunded = case.received + 48 * HOUR + tell.dice.between(MINUTE, 40 * HOUR)


def never_refunded(tell: Teller, order: Order) -> None:
    """The platform confirms the return by default, and still no money."""
    case = _soon(tell, order, "return_refund")
    case.answered = case.opened + HOUR
    case.sent_back = (case.answered + tell.dice.between(MINUTE, 5 * HOUR), tell.parcel(order.merchant))


def sent_again_without_an_answer(tell: Teller, order: Order) -> None:
    """The platform agrees by default, and the merchant sends."""
    case = _soon(tell, order, "resend")
    _send_again(tell, order, case, case.opened + 48 * HOUR + tell.dice.between(HOUR, 40 * HOUR))


def sent_again_late(tell: Teller, order: Order) -> None:
    """Agreed to, and forgotten for two days."""
    case = _soon(tell, order, "resend")
    _send_again(tell, order, case, _answer(tell, case) + 48 * HOUR + tell.dice.between(MINUTE, 20 * HOUR))


def sent_again_in_name_only(tell: Teller, order: Order) -> None:
    """A number for what was missing, and no parcel."""
    case = _soon(tell, order, "resend")
    case.resent = (_answer(tell, case) + tell.dice.between(HOUR, 20 * HOUR), tell.parcel(order.merchant))


# ------------------------------------------------------------------------- plans on a limit, or a microsecond past it


def answered_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Answered after 48 hours."""
    case = _soon(tell, order, "refund_only")
    case.answered = case.opened + 48 * HOUR + past


def rejected_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Rejected after 48 hours, or when the platform has just agreed and the return is due."""
    case = _soon(tell, order, "return_refund")
    case.answered, case.answer = case.opened + 48 * HOUR + past, "rejected"


def withdrawn_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Never answered, and withdrawn after 48 hours."""
    case = _soon(tell, order, "refund_only")
    case.closed = case.opened + 48 * HOUR + past


def sent_back_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Sent back 7 days after the merchant agreed, and refunded at once."""
    case = _soon(tell, order, "return_refund")
    case.answered = case.opened + HOUR
    case.sent_back = (case.answered + 7 * DAY + past, tell.parcel(order.merchant))
    case.refunded = case.sent_back[0] + HOUR


def received_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Received 7 days after it was sent back, and refunded at once."""
    case = _soon(tell, order, "return_refund")
    case.answered = case.opened + HOUR
    case.sent_back = (case.answered + HOUR, tell.parcel(order.merchant))
    case.received = case.sent_back[0] + 7 * DAY + past
    case.refunded = case.received + HOUR


def refunded_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Refunded 48 hours after what was sent back was received."""
    case = _soon(tell, order, "return_refund")
    case.answered = case.opened + HOUR
    case.sent_back = (case.answered + HOUR, tell.parcel(order.merchant))
    case.received = case.sent_back[0] + DAY
    case.refunded = case.received + 48 * HOUR + past


def resend_answered_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Answered after 48 hours, and sent again at once."""
    case = _soon(tell, order, "resend")
    case.answered = case.opened + 48 * HOUR + past
    _send_again(tell, order, case, case.answered + HOUR)


def sent_again_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Sent again 48 hours after the merchant agreed."""
    case = _soon(tell, order, "resend")
    case.answered = case.opened + HOUR
    _send_again(tell, order, case, case.answered + 48 * HOUR + past)


# ------------------------------------------------------------------------------------------------------- what they share


def _after_delivery(tell: Teller, order: Order, kind: str) -> Case:
    """Deliver the order, and let its buyer complain some time later."""
    return tell.case(order, kind, tell.ship(order).scans[-1].at + tell.dice.between(HOUR, 3 * DAY))


def _soon(tell: Teller, order: Order, kind: str) -> Case:
    """Ship the order, and let its buyer complain before it can have come."""
    uploaded = tell.upload_time(order)
    tell.ship(order, uploaded, uploaded + tell.dice.between(HOUR, 5 * HOUR))
    return tell.case(order, kind, uploaded + tell.dice.between(2 * HOUR, 20 * HOUR))


def _answer(tell: Teller, case: Case) -> int:
    case.answered = case.opened + tell.dice.between(10 * MINUTE, 40 * HOUR)
    return case.answered


def _send_back(tell: Teller, order: Order, case: Case) -> int:
    """Let the buyer send the goods back in time; returns when they arrive."""
    agreed = case.answered or case.opened + 48 * HOUR
    case.sent_back = (agreed + tell.dice.between(HOUR, 30 * HOUR), tell.parcel(order.merchant))
    return case.sent_back[0] + tell.dice.between(DAY, 3 * DAY)


def _send_again(tell: Teller, order: Order, case: Case, at: int) -> None:
    """Send a parcel again, picked up in time."""
    case.resent = (at, tell.parcel(order.merchant))
    tell.travel(case.resent[1], order, at + tell.dice.between(HOUR, 14 * HOUR))


ODD: Final[tuple[Plan, ...]] = (
    sent_back_for_a_refund,
    sent_back_for_a_refund,
    refunded_without_a_return,
    refused,
    withdrawn,
    sent_again,
)
BROKEN_ON_DOUYIN: Final[tuple[Plan, ...]] = (
    answered_late,
    never_sent_back,
    received_late,
    refunded_late,
    never_refunded,
    sent_again_without_an_answer,
    sent_again_late,
)
BROKEN: Final[tuple[Plan, ...]] = (*BROKEN_ON_DOUYIN, sent_again_in_name_only)
_LIMITS: Final = (
    sent_back_at_limit,
    received_at_limit,
    refunded_at_limit,
    answered_at_limit,
    rejected_at_limit,
    withdrawn_at_limit,
    resend_answered_at_limit,
    sent_again_at_limit,
)
LIMITS: Final[tuple[Plan, ...]] = tuple(partial(limit, past=past) for limit in _LIMITS for past in (0, 1))
LONG: Final[tuple[Plan, ...]] = (
    never_refunded,
    never_sent_back,
    received_late,
    *LIMITS[:4],
    *LIMITS[8:10],
    refunded_late,
)
"""Of these, what takes longest until it shows, the longest first."""
