"""See `ReturnShipmentOverdue`."""

from detectors._contract import DeadlineRule, View


class ReturnShipmentOverdue(DeadlineRule):
    """The buyer gave no return waybill within 7 days of the agreement: the return closes.

    The one obligation here that is the buyer's. The time runs from the merchant's answer, else from when the platform agreed by
    default; not when the merchant rejected the request in time.

    Source: Douyin after-sales, returns paid online 2, cash on delivery 2.

    Known blind spots:
        What the platform decides after a rejection is not known.
    """

    view = View.AFTERSALE
    title = "goods not sent back in time"
    limit_hours = 168
    by_default = False
    start = "agreed_at"
    after = "aftersale_answer_overdue"
    unless = "rejected_at"
    only = "wants_return"
    met = "return_uploaded_at"
    lifted_by = "settled_at"
