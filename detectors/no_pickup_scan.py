"""See `NoPickupScan`."""

from detectors._contract import DeadlineRule


class NoPickupScan(DeadlineRule):
    """No pickup scan within 24 h of the upload: the number was uploaded without handing over a parcel.

    Source: WeChat Channels 2.3.5 and 3.2.2(2); Douyin 4.1.2. Of several pickup scans the first counts.

    Known blind spots:
        A pickup that the carrier reports late is flagged until the report comes, and cleared then.
    """

    title = "no pickup scan in time after the upload"
    limit_hours = 24
    start = "uploaded_at"
    met = "picked_up_at"
