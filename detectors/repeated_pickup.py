"""See `RepeatedPickup`."""

from collections.abc import Mapping

import polars as pl

from detectors._contract import Given, Rule, View, elsewhere


class RepeatedPickup(Rule):
    """The parcel was picked up again more than 24 h later, or in another city than at first: one number, several parcels.

    Two pickup scans within a day at one place are carrier routine (the courier, then the branch).

    Source: WeChat Channels 3.2.2(3), second half: several abnormal repeated pickup records.

    Known blind spots:
        A second parcel that is picked up in the same city on the same day goes unseen.
    """

    view = View.PICKUP
    title = "picked up again, much later or elsewhere"
    limit_hours = 24

    def violated_at(self, given: Given) -> pl.Expr:
        """Return the time of the pickup scan that is one too many."""
        late = pl.col("pickup_at") > pl.col("picked_up_at") + given.limit
        return pl.when(late | elsewhere("pickup", "first_pickup").fill_null(value=False)).then(pl.col("pickup_at"))

    def evidence(self, given: Given) -> Mapping[str, pl.Expr]:
        """Show both pickups."""
        return {
            "first_picked_up_at": pl.col("picked_up_at"),
            "first_place": pl.col("first_pickup_place"),
            "first_city": pl.col("first_pickup_city"),
            "picked_up_again_at": pl.col("pickup_at"),
            "again_place": pl.col("pickup_place"),
            "again_city": pl.col("pickup_city"),
            "limit_hours": given.limit.dt.total_microseconds() / 3_600_000_000,
        }
