"""See `PickupOverdue`."""

from detectors._contract import DeadlineRule


class PickupOverdue(DeadlineRule):
    """No pickup scan within 72 h of the payment.

    Source: Douyin, shipping times: within 72 hours the uploaded number must have its first pickup scan. It is asked of each
    uploaded waybill; an order without any is `late_shipment`. These are the times of ordinary shipping: orders of a category with
    shipping times of its own (阶梯发货), and what is sent again for an after-sales case, are not asked.

    Known blind spots:
        A pickup that the carrier reports late is flagged until the report comes, and cleared then.
    """

    title = "no pickup scan in time after the payment"
    limit_hours = 72
    by_default = False
    start = "paid_at"
    only = "uploaded_for_order"
    ordinary = True
    met = "picked_up_at"
