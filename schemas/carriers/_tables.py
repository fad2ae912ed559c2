"""What carriers' codes and phrases mean: tables in TOML, the shipped ones and a user's own, which win."""

import re
import tomllib
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from schemas.carriers._contract import NO_SCAN, Status
from schemas.events import ScanStatus

_TEXTS_REMEMBERED: Final = 65_536

_TELEPHONE: Final = re.compile(r"(86)?1[3-9][0-9]{9}|0[0-9]{9,11}|[48]00[0-9]{7}")
_CONTRADICTED: Final = frozenset({ScanStatus.PICKED_UP, ScanStatus.DELIVERED, NO_SCAN})


class TableError(ValueError):
    """A table that cannot be used; the message names the file, the key and what is allowed."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _regular(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return pattern


class Pattern(_Entry):
    """Texts that this regular expression finds something in mean `status`; the first pattern in the table's order decides."""

    match: str = Field(min_length=1, description="Regular expression, searched for in the text.")
    status: str = Field(description="What it means: a scan status, or no_scan.")
    unless: str | None = Field(default=None, description="Not where this regular expression is found as well.")
    why: str = Field(default="", description="Why it means that, and why it stands here.")

    @field_validator("match", "unless")
    @classmethod
    def _is_regular(cls, pattern: str | None) -> str | None:
        return pattern and _regular(pattern)

    @field_validator("status")
    @classmethod
    def _is_known(cls, status: str) -> str:
        if status != NO_SCAN and status not in set(ScanStatus):
            raise ValueError(f"no such status; they are {', '.join([*ScanStatus, NO_SCAN])}")
        return status


class Aside(_Entry):
    """Words that say nothing about the parcel's state, or what is yet to come: taken out before patterns are searched for."""

    match: str = Field(min_length=1)
    why: str = ""

    @field_validator("match")
    @classmethod
    def _is_regular(cls, pattern: str) -> str:
        return _regular(pattern)


class Carrier(_Entry):
    """One carrier: the codes and names that aggregators have for it."""

    codes: list[str] = Field(default=[], description="Codes of any aggregator, in any case.")
    names: list[str] = Field(default=[], description="Names as they stand in texts; the longest found counts.")
    prefixes: list[str] = Field(default=[], description="How its waybill numbers begin, where no other carrier's do.")


class Table(_Entry):
    """One TOML file."""

    carrier: dict[str, Carrier] = {}
    aside: list[Aside] = []
    pattern: list[Pattern] = []


def parse_table(text: str, name: str) -> Table:
    """Read one table from TOML.

    Raises:
        TableError: Not TOML, or a key is unknown, missing or wrong; says which, and `name` for the file.
    """
    try:
        return Table.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise TableError(f"{name}: not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        models: dict[str, type[BaseModel]] = {"carrier": Carrier, "aside": Aside, "pattern": Pattern}
        allowed = models.get(str(first["loc"][0]), Table)
        problem = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            problem = f"unknown key; allowed are {', '.join(allowed.model_fields)}"
        raise TableError(f"{name}: {key}: {problem}") from error


class Transfer(NamedTuple):
    """A text that says under which number a parcel goes on."""

    carrier: str | None
    """The canonical code; None: not said."""
    number: str


class Tables:
    """All that the tables say, for looking up.

    Args:
        tables: The first one that says something about a code or a text counts.
    """

    def __init__(self, tables: Iterable[Table]) -> None:
        self._tables = tables = list(tables)
        self._codes: dict[str, str] = {}
        names: dict[str, str] = {}
        self._prefixes: dict[str, str] = {}
        for code, carrier in (entry for table in tables for entry in table.carrier.items()):
            for alias in (code, *carrier.codes, *carrier.names):
                self._codes.setdefault(alias.lower(), code)
            for name in (*carrier.names, *(alias for alias in (code, *carrier.codes) if alias.isupper())):
                names.setdefault(name, code)
            for prefix in carrier.prefixes:
                self._prefixes.setdefault(prefix, code)
        self._names = names
        self._asides = [re.compile(aside.match) for table in tables for aside in table.aside]
        self._patterns = [
            (re.compile(each.match), each.unless and re.compile(each.unless), each.status)
            for table in tables
            for each in table.pattern
        ]
        known = "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)"
        self._transfer = re.compile(
            rf"(?:转|改|换)(?:寄|投|交|由|至|到|发|派|往|给|走|成|为|单|新)*\W{{0,4}}(?:(?P<carrier>{known})(?:快递|速递|速运|快运|物流|承运|派送|配送|公司)*)?"
            r"(?P<told>[^0-9A-Za-z【\[]{0,12}?(?:单号|运单|号码|编号)[^0-9A-Za-z]{0,6}|\W{0,3})(?P<number>[A-Za-z]{0,4}[0-9]{8,20}[A-Za-z]{0,2})(?![0-9*])"
        )
        self.meaning = lru_cache(_TEXTS_REMEMBERED)(self._meaning)
        """What a text means, or None if no pattern knows it."""

    def __reduce__(self) -> tuple[type[Self], tuple[list[Table]]]:
        """Another process is told what the tables say, not what was made of it here."""
        return type(self), (self._tables,)

    def carrier(self, code: str) -> str:
        """The one spelling of a carrier's code: aliases as the tables say, all others in lower case."""
        return self._codes.get(code.lower(), code.lower())

    def carrier_of_number(self, number: str) -> str | None:
        """The carrier that a waybill number betrays by its first letters, if any."""
        letters = re.match(r"[A-Za-z]*", number)
        return self._prefixes.get(letters[0].upper()) if letters else None

    def status(self, text: str | None, coded: Status | None) -> Status:
        """What a scan means: its text where a pattern knows it, else its code, else that it moves.

        A text that only says that the parcel moves gives way to a code that says more, but not to one of a pickup or a delivery
        that it contradicts, nor to a derived alert: the text is that of a scan.
        """
        meant = self.meaning(text) if text else None
        if meant == ScanStatus.IN_TRANSIT and coded not in _CONTRADICTED:
            return coded or meant
        return meant or coded or ScanStatus.IN_TRANSIT

    def _meaning(self, text: str) -> Status | None:
        for aside in self._asides:
            text = aside.sub(" ", text)
        for match, unless, status in self._patterns:
            if match.search(text) and not (unless and unless.search(text)):
                return status if status == NO_SCAN else ScanStatus(status)
        return None

    def transfer(self, text: str | None) -> Transfer | None:
        """Where a parcel goes on, if a text says that it does, and under which number."""
        found = self._transfer.search(text) if text else None
        if found is None:
            return None
        name = found["carrier"]
        # A number behind "转" may be anything, a telephone above all.
        if _TELEPHONE.fullmatch(found["number"]):
            return None
        if not name and not re.search("单号|运单", found["told"]):
            return None
        return Transfer(self._names[name] if name else None, found["number"])


@cache
def shipped() -> Tables:
    """The tables that come with parcelwatch."""
    return load_tables(None)


def load_tables(folder: Path | None) -> Tables:
    """Read the shipped tables and every `*.toml` of `folder`, which come first.

    Raises:
        TableError: A table is wrong, or the folder cannot be read; the message names file and key.
    """
    own: list[Table] = []
    if folder is not None:
        if not folder.is_dir():
            raise TableError(f"{folder}: no such folder")
        try:
            own = [parse_table(path.read_text("utf-8"), str(path)) for path in sorted(folder.glob("*.toml"))]
        except (OSError, UnicodeDecodeError) as error:
            raise TableError(f"{folder}: {error}") from error
    here = files("schemas").joinpath("carriers")
    return Tables([*own, *(parse_table(here.joinpath(name).read_text("utf-8"), name) for name in _SHIPPED)])


_SHIPPED: Final = ("carriers.toml", "phrases.toml")
