"""EPCIS 2.0 (GS1) in JSON and JSON-LD: documents, answers to queries, and events alone."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from pydantic import Field, model_validator

from schemas.carriers._abroad import Nothing, best
from schemas.carriers._contract import NO_SCAN, Adapter, Code, Loose, Moment, Rows, Status, Told, place
from schemas.events import ScanStatus as S

CARRIER: Final = "epcis"
"""In place of a carrier, which EPCIS does not name: who reads such events knows whose they are, and says it in a table."""

_KINDS: Final = frozenset(
    {"ObjectEvent", "AggregationEvent", "TransactionEvent", "TransformationEvent", "AssociationEvent"}
)
_PHYSICAL: Final = frozenset({"ObjectEvent", "AggregationEvent"})
_DOCUMENTS: Final = frozenset({"EPCISDocument", "EPCISQueryDocument"})
_OFFSET: Final = re.compile(r"[+-]\d{2}:\d{2}")
_ZONED: Final = re.compile(r".*(Z|[+-]\d{2}:?\d{2})", re.IGNORECASE)
_WORD: Final = re.compile(r"[A-Za-z_]+$")
_SSCC: Final = re.compile(r"urn:epc:id:sscc:(\d+)\.(\d)(\d+)")
_GSIN: Final = re.compile(r"urn:epc:id:gsin:(\d+)\.(\d+)")
_GINC: Final = re.compile(r"urn:epc:id:ginc:(\d+)\.(\S+)")
_SERIAL: Final = re.compile(r"urn:epc:id:[a-z]+:(?:[^.]*\.)+([^.]+)")
_LINKED: Final = re.compile(r"https?://.+/(?:00|21|401|402|8003|8004)/([^/?#]+)")
_LAST: Final = re.compile(r"[^:/#]+$")


class Event(Loose):
    """One event. `readPoint` is where it was observed, `bizLocation` where the objects are from then on."""

    kind: str | None = None
    event_id: str | None = Field(None, validation_alias="eventID")
    at: Moment = Field(validation_alias="eventTime")
    objects: list[Code] = Field(default=[], validation_alias="epcList")
    step: str | None = Field(None, validation_alias="bizStep")
    disposition: str | None = None
    read_point: str | None = Field(None, validation_alias="readPoint")
    location: str | None = Field(None, validation_alias="bizLocation")
    withdrawn: bool = False

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        """Take words out of their vocabulary's URI, places out of their object, and the offset to the time that lacks it."""
        if not isinstance(given, dict):
            return given
        inside = [given.get("parentID"), *_listed(given.get("childEPCs"))] if _kind(given) == "AggregationEvent" else []
        plain = {
            **given,
            "kind": _kind(given),
            "withdrawn": bool(given.get("errorDeclaration")),
            "epcList": [*_listed(given.get("epcList")), *(each for each in inside if each)],
            "bizStep": _word(given.get("bizStep")),
            "disposition": _word(given.get("disposition")),
        }
        for key in ("readPoint", "bizLocation"):
            where = given.get(key)
            plain[key] = where.get("id") or where.get("@id") if isinstance(where, dict) else where
        time, offset = given.get("eventTime"), given.get("eventTimeZoneOffset")
        lacking = isinstance(time, str) and not _ZONED.fullmatch(time.strip())
        if lacking and isinstance(offset, str) and _OFFSET.fullmatch(offset):
            plain["eventTime"] = f"{time}{offset}"
        return plain


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _kind(node: Mapping[str, Any]) -> str | None:
    kind = node.get("type") or node.get("isA") or node.get("@type")
    return kind.rpartition(":")[2] if isinstance(kind, str) else None


def _word(value: Any) -> Any:
    """`shipping`, as it is or as `urn:epcglobal:cbv:bizstep:shipping`, `cbv:BizStep-shipping` or a web address that ends so."""
    found = _WORD.search(value) if isinstance(value, str) else None
    return found[0].lower() if found else value


class Results(Loose):
    """The events that a query has found."""

    events: Rows[Event] = Field(default=[], validation_alias="eventList")


class Answer(Loose):
    """What a query has found."""

    results: Results | None = Field(None, validation_alias="resultsBody")


class Body(Results):
    """The events of a document, or of an answer."""

    event: Event | None = None
    answer: Answer | None = Field(None, validation_alias="queryResults")


class Document(Loose):
    """A document, or an answer to a query."""

    body: Body = Field(validation_alias="epcisBody")

    def events(self) -> list[Event]:
        """All events of it."""
        found = self.body.answer.results.events if self.body.answer and self.body.answer.results else []
        return [*self.body.events, *([self.body.event] if self.body.event else ()), *found]


class Epcis(Adapter):
    """EPCIS 2.0, JSON and JSON-LD.

    Object events tell of travel, and so do aggregation events, whose parent and children are observed together. The other kinds
    tell of papers, of goods that became others, of what belongs together: nothing of a parcel's way. One scan is told per object.

    An event with an error declaration says that it never happened; the one with its id, if it is in the same document, is left
    out as well. If that one came before, it stays: a fact once told cannot be taken back.

    An object is named by what is on a label: the 18 digits of an SSCC, the number of a consignment or shipment, and of what has
    a serial, that alone, although it is unique for one kind of goods only.
    """

    zone = None
    statuses: ClassVar[Mapping[str, Status]] = {
        "commissioning": S.INFO_RECEIVED, "encoding": S.INFO_RECEIVED, "labeling": S.INFO_RECEIVED,
        "packing": S.INFO_RECEIVED, "picking": S.INFO_RECEIVED, "staging_outbound": S.INFO_RECEIVED,
        "accepting": S.PICKED_UP, "shipping": S.DEPARTED_FACILITY, "loading": S.DEPARTED_FACILITY,
        "departing": S.DEPARTED_FACILITY, "transporting": S.IN_TRANSIT, "entering_exiting": S.IN_TRANSIT,
        "arriving": S.ARRIVED_AT_FACILITY, "receiving": S.ARRIVED_AT_FACILITY, "unloading": S.ARRIVED_AT_FACILITY,
        "storing": S.IN_TRANSIT, "inspecting": S.IN_TRANSIT, "collecting": S.IN_TRANSIT, "sampling": S.IN_TRANSIT,
        "holding": S.EXCEPTION, "destroying": S.EXCEPTION, "void_shipping": S.CANCELLED,
        # Of what is in a shop, a factory or a register.
        "assembling": NO_SCAN, "consigning": NO_SCAN, "creating_class_instance": NO_SCAN, "cycle_counting": NO_SCAN,
        "decommissioning": NO_SCAN, "disassembling": NO_SCAN, "dispensing": NO_SCAN, "installing": NO_SCAN,
        "other": NO_SCAN, "removing": NO_SCAN, "repackaging": NO_SCAN, "repairing": NO_SCAN, "replacing": NO_SCAN,
        "reserving": NO_SCAN, "retail_selling": NO_SCAN, "sensor_reporting": NO_SCAN, "stock_taking": NO_SCAN,
        "stocking": NO_SCAN, "unpacking": NO_SCAN,
        # Dispositions that say more than a step.
        "damaged": S.EXCEPTION, "destroyed": S.EXCEPTION, "stolen": S.EXCEPTION, "recalled": S.EXCEPTION,
        "returned": S.RETURNING,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """By the type, and by what an event or a document must have."""
        kind = _kind(node)
        if kind in _DOCUMENTS and "epcisBody" in node:
            return Document if isinstance(node["epcisBody"], dict) else Nothing
        return Event if kind in _KINDS and "eventTime" in node else None

    def told(self, document: Document | Event | Nothing) -> Iterator[Told]:
        """A scan per object of each event that has happened and that is one of travel."""
        if isinstance(document, Nothing):
            return
        events = document.events() if isinstance(document, Document) else [document]
        withdrawn = {each.event_id for each in events if each.withdrawn and each.event_id}
        for each in events:
            if each.kind not in _PHYSICAL or each.withdrawn or each.event_id in withdrawn:
                continue
            disposition = each.disposition if each.disposition in _DECISIVE else None
            code = best(self.statuses, disposition, each.step)
            where = place(facility=each.read_point or each.location)
            said = ", ".join(word for word in (each.step, each.disposition) if word) or None
            for name in dict.fromkeys(each.objects):
                yield Told(CARRIER, number_of(name), each.at, said, code, where)


_DECISIVE: Final = frozenset({"damaged", "destroyed", "stolen", "recalled", "returned"})


def number_of(name: str) -> str:
    """What of an object's name is the number that a label shows and a merchant would write down."""
    if sscc := _SSCC.fullmatch(name):
        digits = f"{sscc[2]}{sscc[1]}{sscc[3]}"
        return f"{digits}{_check_digit(digits)}"
    if gsin := _GSIN.fullmatch(name):
        digits = f"{gsin[1]}{gsin[2]}"
        return f"{digits}{_check_digit(digits)}"
    if ginc := _GINC.fullmatch(name):
        return unquote(f"{ginc[1]}{ginc[2]}")
    found = _SERIAL.fullmatch(name) or _LINKED.match(name)
    if found:
        return unquote(found[1])
    last = _LAST.search(name)
    return last[0] if last else name


def _check_digit(digits: str) -> int:
    weighted = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return -weighted % 10
