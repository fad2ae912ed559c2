"""See `LateShipment`."""

from detectors._contract import DeadlineRule, View


class LateShipment(DeadlineRule):
    """No waybill uploaded within the promised time after the payment.

    The first of these that there is: the limit of a promotion, the order's `ship_within_hours` (unless it is longer than its
    category may promise), the hours of its category, the platform's default (48 h).

    Source: WeChat Channels 2.3.1 to 2.3.4 and 3.1.1; Douyin, shipping times (48 h, 阶梯发货, special categories).
    """

    view = View.ORDER
    title = "no waybill uploaded in time after the payment"
    limit_hours = 48
    start = "paid_at"
    met = "first_uploaded_at"
    promised = "ship_within_hours"
