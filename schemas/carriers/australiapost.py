"""Australia Post: answers to its tracking query."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from schemas.carriers._abroad import WORLD, Instant
from schemas.carriers._contract import Adapter, Code, Loose, Rows, Told, first, place


class TrackEvent(Loose):
    """One scan; it has no code."""

    at: Instant = Field(None, validation_alias="date")
    description: str | None = None
    location: str | None = None


class Article(Loose):
    """A parcel, or a consignment of several, whose parcels are its `items`."""

    number: str | None = Field(None, validation_alias="article_id")
    events: Rows[TrackEvent] = Field(default=[])
    items: Rows["Article"] = Field(default=[])


class Result(Loose):
    """What is known of one number that was asked for."""

    number: Code = Field(validation_alias="tracking_id")
    articles: Rows[Article] = Field(default=[], validation_alias="trackable_items")


class Australiapost(Adapter):
    """Australia Post, tracking.

    Times have the offset of Melbourne, wherever the scan was. One without is read as UTC.
    """

    zone = WORLD

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """By the names of numbers; one that is not known has errors in place of articles."""
        return Result if "tracking_id" in node and node.keys() & {"trackable_items", "errors"} else None

    def told(self, document: Result) -> Iterator[Told]:
        """The scans of each parcel, under its own number."""
        parcels = [parcel for each in document.articles for parcel in (each, *each.items)]
        for parcel in parcels:
            for each in parcel.events:
                number = first(parcel.number) or document.number
                where = place(text=each.location)
                yield Told("australiapost", number, each.at, first(each.description), None, where)
