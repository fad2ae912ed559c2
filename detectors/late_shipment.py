"""See `LateShipment`."""

from detectors._contract import DeadlineRule, View


class LateShipment(DeadlineRule):
    """No waybill uploaded within the promised time after the payment.

    The promise is the order's `ship_within_hours`, else the platform's default (48 h).

    Source: WeChat Channels 2.3.1 and 3.1.1; Douyin, shipping times (48 h).
    """

    view = View.ORDER
    title = "no waybill uploaded in time after the payment"
    limit_hours = 48
    start = "paid_at"
    met = "first_uploaded_at"
    promised = "ship_within_hours"
