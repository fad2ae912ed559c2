"""The world that simulated parcels travel in: places, carriers and how they word their scans, people. Read from `world.toml`."""

import tomllib
from importlib.resources import files
from typing import Any, Final, NamedTuple


class City(NamedTuple):
    """A prefecture, a municipality, or a county directly under a province.

    `province`, `name` and `districts` are as on an address; `short_province` and `short` are what carriers like to write.
    """

    province: str
    name: str
    short_province: str
    short: str
    districts: tuple[str, ...]


class Address(NamedTuple):
    """Where an order goes. `detail` is street and door."""

    city: City
    district: str
    detail: str


class Person(NamedTuple):
    """Somebody who receives parcels."""

    name: str
    phone: str


class Carrier(NamedTuple):
    """A carrier.

    Attributes:
        code: Its code in the events.
        prefix: How its waybill numbers begin.
        digits: How many digits follow.
        full_names: Whether its scans name places in full (浙江省 杭州市) or in short (浙江 杭州).
        hub: How it calls a sorting centre, with `{}` for the city.
        branch: How it calls a local branch, with `{}` for the district.
        phrases: Its wording by status, with the fields `city`, `here`, `next`, `courier` and `phone`.
    """

    code: str
    prefix: str
    digits: int
    full_names: bool
    hub: str
    branch: str
    phrases: dict[str, str]


_WORLD: Final[dict[str, Any]] = tomllib.loads(files("pipeline.simulation").joinpath("world.toml").read_text("utf-8"))


def _city(province: str, words: str) -> City:
    name, *districts = words.split()
    short_forms = _WORLD["short_forms"]
    # A county directly under its province stands in the district field; carriers name it as if it were the city.
    named = districts[0] if "直辖" in name else name
    return City(
        province,
        name,
        short_forms.get(province, province[:-1]),
        short_forms.get(name, named.removesuffix("市")),
        tuple(districts),
    )


CITIES: Final = tuple(_city(province, words) for province, cities in _WORLD["provinces"].items() for words in cities)
ORIGINS: Final = tuple(city for city in CITIES if city.short in _WORLD["origins"])
"""Where merchants ship from."""
CARRIERS: Final = tuple(
    Carrier(**{**carrier, "phrases": _WORLD["phrases"] | carrier["phrases"]}) for carrier in _WORLD["carriers"]
)
STREETS, ESTATES, FAMILY_NAMES, GIVEN_NAMES, PHONE_PREFIXES = (
    tuple(_WORLD[name].split()) for name in ("streets", "estates", "family_names", "given_names", "phone_prefixes")
)
HOURLY_LOAD: Final[tuple[int, ...]] = tuple(_WORLD["hourly_load"])
"""Payments by hour of the day, China time."""
