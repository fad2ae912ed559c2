"""See `ResendOverdue`."""

from detectors._contract import DeadlineRule, View


class ResendOverdue(DeadlineRule):
    """What was to be sent again (补寄) was not shipped within 48 h of the agreement.

    The time runs from the merchant's answer, else from when the platform agreed by default; not when the merchant rejected the
    request in time.

    Source: Douyin resend 3.3.2, 4.2 and 4.3 (3 yuan to the buyer for each).

    Known blind spots:
        Whether the new parcel is real is asked by the rules about shipments.
    """

    view = View.AFTERSALE
    title = "not sent again in time"
    limit_hours = 48
    by_default = False
    start = "agreed_at"
    after = "resend_answer_overdue"
    unless = "rejected_at"
    met = "resent_at"
    lifted_by = "settled_at"
