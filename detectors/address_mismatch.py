"""See `AddressMismatch`."""

from collections.abc import Mapping

import polars as pl

from detectors._contract import Given, Rule, elsewhere


class AddressMismatch(Rule):
    """The parcel ended in another city than the order's delivery address: it is somebody else's.

    Asked of the last scan that is out for delivery, available for pickup or delivered; at the same moment delivered counts as
    last, then available for pickup.

    Source: WeChat Channels 3.2.2(4).

    Known blind spots:
        Abstains when either place names no city for sure, when both may lie in the same one, and on parcels that were
        returned or forwarded. Prefectures are compared (the municipalities, Hong Kong, Macau and Taiwan as a whole): a parcel
        in another district of the city goes unseen.
    """

    title = "parcel ended in another city than the address"

    def violated_at(self, given: Given) -> pl.Expr:
        """Return the time of the last scan at the destination."""
        del given
        return pl.when(elsewhere("drop", "address") & ~pl.col("turned_back")).then(pl.col("drop_at"))

    def evidence(self, given: Given) -> Mapping[str, pl.Expr]:
        """Show both places as they were written, and the cities that they were understood as."""
        del given
        return {
            "address": pl.col("address_place"),
            "address_city": pl.col("address_city"),
            "scan_place": pl.col("drop_place"),
            "scan_city": pl.col("drop_city"),
            "scan_status": pl.col("drop_status"),
            "scanned_at": pl.col("drop_at"),
        }
