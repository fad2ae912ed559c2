"""See `WaybillReused`."""

from collections.abc import Mapping

import polars as pl

from detectors._contract import Given, Rule


class WaybillReused(Rule):
    """The number was uploaded at most 30 days after another order used it for another recipient or address.

    Recipients differ by name or phone, addresses by their text without white space, punctuation and full-width forms; what one
    of the two orders does not give is not compared.

    Source: WeChat Channels 3.2.2(5).

    Known blind spots:
        Several orders of one recipient in one parcel are no reuse, so a merchant who invents recipients alike goes unseen.
    """

    title = "number already used for another recipient or address"
    limit_hours = 720

    def violated_at(self, given: Given) -> pl.Expr:
        """Return the time of this order's upload."""
        uploaded_at = pl.col("uploaded_at")
        return pl.when(uploaded_at - pl.col("other_uploaded_at") <= given.limit).then(uploaded_at)

    def evidence(self, given: Given) -> Mapping[str, pl.Expr]:
        """Show the other order, both uploads and what differs."""
        return {
            "uploaded_at": pl.col("uploaded_at"),
            "other_order_id": pl.col("other_order_id"),
            "other_uploaded_at": pl.col("other_uploaded_at"),
            "differs_in": pl.col("other_differs_in"),
            "limit_hours": given.limit.dt.total_microseconds() / 3_600_000_000,
        }
