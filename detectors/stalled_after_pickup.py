"""See `StalledAfterPickup`."""

from detectors._contract import DeadlineRule


class StalledAfterPickup(DeadlineRule):
    """No further movement within 24 h of the pickup: an empty or never forwarded parcel.

    Source: WeChat Channels 3.2.2(3), first half; Douyin 4.1.3. Movement is the first scan later than the first pickup that is no
    pickup, announcement or cancellation.

    Known blind spots:
        Long legs without scanners (remote regions, sea) look like standing still.
    """

    title = "no movement in time after the pickup"
    limit_hours = 24
    start = "picked_up_at"
    met = "moved_at"
