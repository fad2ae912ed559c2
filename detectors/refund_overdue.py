"""See `RefundOverdue`."""

from detectors._contract import DeadlineRule, View


class RefundOverdue(DeadlineRule):
    """No refund within 48 h of the return's receipt: the platform pays in advance and punishes.

    The time runs from the merchant's confirmation, else from when the platform confirmed by default.

    Source: Douyin after-sales, cash on delivery 4. For returns paid online the text has the platform refund by itself.

    Known blind spots:
        Refunds without a return are not asked about: the text gives no time for them.
    """

    view = View.AFTERSALE
    title = "not refunded in time after the return"
    limit_hours = 48
    by_default = False
    start = "received_at"
    after = "return_receipt_overdue"
    met = "refunded_at"
    lifted_by = "settled_at"
