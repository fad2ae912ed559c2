"""See `PickupBeforePayment`."""

from collections.abc import Mapping

import polars as pl

from detectors._contract import Given, Rule


class PickupBeforePayment(Rule):
    """The carrier picked the parcel up before the buyer paid for it: the number belongs to another parcel.

    Source: WeChat Channels 3.2.2(1): the pickup time of the uploaded number is earlier than the time of successful payment.

    Known blind spots:
        A carrier's clock that runs behind shows as a pickup before payment.
    """

    title = "picked up before it was paid for"

    def violated_at(self, given: Given) -> pl.Expr:
        """Return the time of payment where the first pickup is earlier; at the same moment is fine."""
        del given
        return pl.when(pl.col("picked_up_at") < pl.col("paid_at")).then(pl.col("paid_at"))

    def evidence(self, given: Given) -> Mapping[str, pl.Expr]:
        """Show both times."""
        del given
        return {"paid_at": pl.col("paid_at"), "picked_up_at": pl.col("picked_up_at")}
