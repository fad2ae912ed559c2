"""AfterShip: webhook pushes and answers with one tracking, with many, or with its last checkpoint."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from pydantic import AliasChoices, Field

from schemas.carriers._abroad import WORLD, Instant, Nothing, best
from schemas.carriers._contract import NO_SCAN, Adapter, Code, Loose, Rows, Status, Told, first, place
from schemas.events import ScanStatus as S

_MARKED_BY_HAND: Final = "user"
_COUNTRIES: Final = AliasChoices("country_name", "country_region_name")
_COUNTRY_CODES: Final = AliasChoices("country_iso3", "country_region")


class Checkpoint(Loose):
    """One scan. `subtag` is AfterShip's finer reading of the text, `tag` the coarse one.

    `source` tells a carrier's scan from the merchant's marking the tracking as completed.
    """

    at: Instant = Field(None, validation_alias="checkpoint_time")
    slug: str | None = None
    message: str | None = None
    tag: str | None = None
    subtag: str | None = None
    source: str | None = None
    country: str | None = Field(None, validation_alias=_COUNTRIES)
    country_code: str | None = Field(None, validation_alias=_COUNTRY_CODES)
    state: str | None = None
    city: str | None = None
    location: str | None = None


class Tracking(Loose):
    """One parcel. Its own tag is that of its latest checkpoint, or one that time alone has brought about."""

    number: Code = Field(validation_alias="tracking_number")
    slug: str | None = None
    checkpoints: Rows[Checkpoint] = Field(default=[])
    checkpoint: Checkpoint | None = None


class Aftership(Adapter):
    """AfterShip, webhook, tracking and trackings.

    Checkpoints have the carrier's offset, or no offset at all. What they mean without one is not said; where the same scan was
    given both ways, it was UTC. A mere day is its beginning.
    """

    zone = WORLD
    statuses: ClassVar[Mapping[str, Status]] = {
        "Pending": NO_SCAN, "InfoReceived": S.INFO_RECEIVED, "InTransit": S.IN_TRANSIT,
        "OutForDelivery": S.OUT_FOR_DELIVERY, "AttemptFail": S.DELIVERY_FAILED, "Delivered": S.DELIVERED,
        "AvailableForPickup": S.AVAILABLE_FOR_PICKUP, "Exception": S.EXCEPTION, "Expired": NO_SCAN,
        # Subtags that say more than their tag.
        "InTransit_002": S.PICKED_UP, "InTransit_003": S.ARRIVED_AT_FACILITY, "InTransit_004": S.ARRIVED_AT_FACILITY,
        "InTransit_005": S.CUSTOMS, "InTransit_006": S.CUSTOMS, "InTransit_007": S.DEPARTED_FACILITY,
        "InTransit_009": S.FORWARDED,
        "Exception_002": S.DELIVERY_FAILED, "Exception_003": S.DELIVERY_FAILED, "Exception_004": S.CUSTOMS,
        "Exception_007": S.DELIVERY_FAILED, "Exception_008": S.DELIVERY_FAILED, "Exception_010": S.RETURNING,
        "Exception_011": S.RETURNED, "Exception_018": S.CUSTOMS, "Exception_020": S.CANCELLED,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """Only AfterShip calls a carrier a `slug`; a list of trackings may be empty."""
        if {"tracking_number", "slug"} <= node.keys():
            return Tracking
        return Nothing if node.get("trackings") == [] else None

    def told(self, document: Tracking | Nothing) -> Iterator[Told]:
        """The carriers' scans, under the carrier of the tracking: a checkpoint may name that of the last mile."""
        if isinstance(document, Nothing):
            return
        checkpoints = [*document.checkpoints, *([document.checkpoint] if document.checkpoint else ())]
        carrier = first(document.slug, *(each.slug for each in checkpoints))
        if checkpoints and carrier is None:
            raise ValueError("slug: missing, or empty")
        for each in checkpoints:
            if each.source == _MARKED_BY_HAND:
                continue
            code = best(self.statuses, each.subtag, each.tag, (each.subtag or "").partition("_")[0])
            country = first(each.country, each.country_code)
            where = place(country=country, province=each.state, city=each.city, text=each.location)
            yield Told(carrier or "", document.number, each.at, first(each.message), code, where)
