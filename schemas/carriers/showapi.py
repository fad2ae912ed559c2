"""ShowAPI (万维易源): answers to its express query."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import AliasChoices, Field

from schemas.carriers._contract import CHINA, Adapter, Loose, Moment, Rows, Told, first, refuse_placeholder


class Trace(Loose):
    """One scan; it has no code."""

    time: Moment
    context: str


class History(Loose):
    """One parcel's history, newest scan first. `status` is the parcel's."""

    number: str | None = Field(None, validation_alias=AliasChoices("mailNo", "nu"))
    carrier: str | None = Field(None, validation_alias=AliasChoices("expSpellName", "com"))
    carrier_name: str | None = Field(None, validation_alias="expTextName")
    data: Rows[Trace] = Field(default=[])


class Showapi(Adapter):
    """ShowAPI (万维易源), query."""

    zone = CHINA

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """Its scans look like Kuaidi100's, but the number is a `mailNo`."""
        return History if "mailNo" in node and isinstance(node.get("data"), list) else None

    def told(self, document: History) -> Iterator[Told]:
        """The scans."""
        if not document.data:
            return
        number, carrier = first(document.number), first(document.carrier, document.carrier_name)
        if number is None or carrier is None:
            raise ValueError(f"{'expSpellName' if number else 'mailNo'}: missing, or empty")
        refuse_placeholder("mailNo", number)
        for trace in document.data:
            yield Told(carrier, number, trace.time, trace.context)
