"""See `FirstHubOverdue`."""

from detectors._contract import DeadlineRule


class FirstHubOverdue(DeadlineRule):
    """The parcel did not reach or leave its first sorting centre within 24 h of the pickup.

    Source: Douyin 4.1.3: from the first pickup scan to arriving at or leaving the first sorting centre, 24 hours. A later stage
    (out for delivery, available for pickup, delivered) shows that it was passed.

    Known blind spots:
        Carriers that report facilities as plain `in_transit` do not show the hub.
    """

    title = "first sorting centre not reached in time"
    limit_hours = 24
    by_default = False
    start = "picked_up_at"
    met = "first_hub_at"
