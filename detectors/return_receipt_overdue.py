"""See `ReturnReceiptOverdue`."""

from detectors._contract import DeadlineRule, View


class ReturnReceiptOverdue(DeadlineRule):
    """The merchant did not confirm the return within 7 days of its waybill: the platform confirms it by default.

    The time runs from when the buyer uploaded the tracking of the return, however long the parcel travels.

    Source: Douyin after-sales, returns paid online 3, cash on delivery 3.

    Known blind spots:
        A return that is itself lost is flagged all the same.
    """

    view = View.AFTERSALE
    title = "return not confirmed in time"
    limit_hours = 168
    by_default = False
    start = "return_uploaded_at"
    met = "received_at"
    lifted_by = "settled_at"
