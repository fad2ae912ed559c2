"""What carriers and aggregators send, and how it becomes canonical events. Every public module here is one format.

A new format is one file here and one test file, `tests/schemas/carriers/test_<format>.py`; it is found by itself, and its name
is the module's. The file has

- pydantic models of the payload (`Loose`, or `Spelled` where the spelling of keys varies): the fields that are needed and no
  others. `Code` is a number or code that must be there, `Moment` a time in any notation, `Rows[Model]` the list of scans, of
  which one that cannot be read does not take the others with it;
- one class, an `Adapter`: `zone` (that of times without an offset), `statuses` (the format's codes and what they mean, as
  data), `document` (by its keys, which model a JSON object is, if any) and `told` (what it tells: a `Told` per
  scan, with the text, the code and the place as they came, and a `Renumbered` where a field says that the number has changed).

Its class docstring's first line is the format's title. What all formats have in common is done for it: JSON inside forms and
envelopes, carriers' aliases (`carriers.toml`), the meaning of texts, which wins over codes (`phrases.toml`), transfers that a
text tells of, sentinel dates, `received_at`, and dead letters that name the path. A state of the parcel as a whole is not told:
it has no time of its own, and repeats what a scan says. `Told.code` may hold a code of any level; those that an aggregator
derives from elapsed time map to `NO_SCAN`. Where a format's aggregator mixes parcels under numbers such as 12345678, call
`refuse_placeholder`.
"""

import inspect
import pkgutil
from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from types import MappingProxyType
from typing import Final

from schemas.carriers._contract import Adapter
from schemas.carriers._reading import Reading, is_canonical, payload_of, read, read_canonical, recognised
from schemas.carriers._tables import TableError, Tables, load_tables, shipped

__all__ = [
    "AUTO",
    "CANONICAL",
    "FORMATS",
    "FORMAT_NAMES",
    "Adapter",
    "Reading",
    "TableError",
    "Tables",
    "convert",
    "load_tables",
]

CANONICAL: Final = "canonical"
"""The format of our own events."""
AUTO: Final = "auto"
"""Each payload is what it has the shape of."""


def _discover() -> Mapping[str, Adapter]:
    formats: dict[str, Adapter] = {}
    for module_info in pkgutil.iter_modules(__path__):
        if module_info.name.startswith("_"):
            continue
        module = import_module(f"{__name__}.{module_info.name}")
        own = [
            kind
            for _, kind in inspect.getmembers(module, inspect.isclass)
            if kind.__module__ == module.__name__ and issubclass(kind, Adapter)
        ]
        assert len(own) == 1, f"schemas/carriers/{module_info.name}.py must define exactly one Adapter"
        formats[module_info.name] = own[0]()
    return MappingProxyType(formats)


FORMATS: Final[Mapping[str, Adapter]] = _discover()
"""All formats by name."""

FORMAT_NAMES: Final = (CANONICAL, AUTO, *FORMATS)
"""What a topic or a file can be declared as."""


def convert(value: bytes, name: str, recorded_at: datetime | None = None, tables: Tables | None = None) -> Reading:
    """Read one message.

    Args:
        value: JSON, or a form with JSON in it.
        name: One of `FORMAT_NAMES`.
        recorded_at: When Kafka took the message in (aware, or none); the default of `received_at`, before `occurred_at`.
        tables: Meanings of codes and texts; without them, the shipped ones.

    Returns:
        The events, and what of the message cannot be read.

    Raises:
        RejectedError: It has not the shape of the format.
    """
    if name == CANONICAL:
        return read_canonical(value, recorded_at)
    payload = payload_of(value)
    if name == AUTO:
        if is_canonical(payload):
            return read_canonical(value, recorded_at)
        name = recognised(payload, FORMATS)
    return read(payload, name, FORMATS[name], tables or shipped(), recorded_at)
