"""The vocabulary of rules: the columns of each view, and what they mean. All times are microseconds in UTC; null is unknown.

ORDER, one row per order with a payment or an upload:
    paid_at             the earliest payment
    ship_within_hours   promised by that payment, in hours; null: the platform's default
    cancelled_at        the earliest cancellation
    first_uploaded_at   the earliest upload of any waybill, apart from what was sent again
    <rule>_deadline     the deadline of every deadline rule of the view, moved by exemptions

SHIPMENT, one row per order and waybill uploaded for it; as ORDER, and:
    uploaded_at         the earliest upload of this waybill for this order
    uploaded_for_order  whether it was uploaded in the ordinary way, not (only) to send again for an after-sales case
    picked_up_at        the earliest `picked_up` scan of the waybill (after replacements, here and below)
    moved_at            the first scan later than that whose status is in `MOVING`
    first_hub_at        the first scan later than that whose status is in `AT_HUB`
    last_scanned_at     the latest scan of any status
    turned_back         whether any scan's status is in `TURNED_BACK`
    drop_at, drop_status, drop_place, …                             the last scan whose status is in `DROPS`
    address_place, …                                                the delivery address in force
    other_uploaded_at, other_order_id, other_differs_in             the latest earlier upload of the waybill as it was uploaded, by
                                                                    another order with another recipient or address
    (`…_place` is as written, `…_city` the city that it was understood as; `…_cities`, `…_unlisted_…` and `…_postal` are what
    places are compared by, see `places.resolving`)
    drop_elsewhere_than_address                                     whether the two lie in different cities, see `elsewhere`

PICKUP, one row per pickup scan of a shipment that has several; as SHIPMENT, and:
    pickup_at, pickup_place, …                                      this scan
    first_pickup_place, …                                           the first pickup scan whose city is known
    pickup_elsewhere_than_first_pickup                              whether the two lie in different cities

AFTERSALE, one row per after-sales case that was opened; as ORDER, and of each event the earliest:
    opened_at           the request; of its kind refund_only or return_refund also refund_asked_at, of resend also resend_asked_at
    wants_return        whether the goods go back
    answered_at         the merchant's first answer, which is also agreed_at or rejected_at
    return_uploaded_at  the buyer's return waybill
    received_at         the merchant has the goods back
    refunded_at, resent_at                                          the money, or other goods, are on their way
    settled_at          the earliest of refunded_at, resent_at and the end of the case
"""

from typing import Final

STATUSES: Final = (
    "info_received",
    "picked_up",
    "in_transit",
    "arrived_at_facility",
    "departed_facility",
    "customs",
    "out_for_delivery",
    "available_for_pickup",
    "delivered",
    "delivery_failed",
    "exception",
    "returning",
    "returned",
    "forwarded",
    "cancelled",
)

PICKED_UP: Final = "picked_up"
MOVING: Final = frozenset(STATUSES) - {"picked_up", "info_received", "cancelled"}
"""Statuses that show that a parcel moves on after its pickup."""
AT_HUB: Final = frozenset(
    {"arrived_at_facility", "departed_facility", "out_for_delivery", "available_for_pickup", "delivered"}
)
DROPS: Final = ("out_for_delivery", "available_for_pickup", "delivered")
"""Statuses of a parcel at its destination, in the order in which they count at the same moment."""
TURNED_BACK: Final = frozenset({"returning", "returned", "forwarded"})
COMPARED: Final = (("drop", "address"), ("pickup", "first_pickup"))
"""The places that are compared with each other, where a view has both."""
