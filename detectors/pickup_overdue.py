"""See `PickupOverdue`."""

from detectors._contract import DeadlineRule


class PickupOverdue(DeadlineRule):
    """No pickup scan within 72 h of the payment.

    Source: Douyin, shipping times: within 72 hours the uploaded number must have its first pickup scan. It is asked of each
    uploaded waybill; an order without any is `late_shipment`.

    Known blind spots:
        A pickup that the carrier reports late is flagged until the report comes, and cleared then.
    """

    title = "no pickup scan in time after the payment"
    limit_hours = 72
    by_default = False
    start = "paid_at"
    met = "picked_up_at"
