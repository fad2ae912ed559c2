"""See `UnableToShip`."""

from detectors._contract import DeadlineRule, View, deadline_of


class UnableToShip(DeadlineRule):
    """No waybill uploaded 48 h after the `late_shipment` deadline: the order counts as one that cannot be shipped.

    Source: WeChat Channels 3.4.1.
    """

    view = View.ORDER
    title = "still no waybill long after the shipping deadline"
    limit_hours = 48
    after = "late_shipment"
    start = deadline_of("late_shipment")
    met = "first_uploaded_at"
