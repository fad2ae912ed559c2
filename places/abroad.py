"""Countries, by the names that addresses and carriers write."""

from functools import cache
from typing import Final

from places.divisions import table

HOME: Final = "CN"
HERE: Final = {"HK": "810000", "HKG": "810000", "MO": "820000", "MAC": "820000", "TW": "710000", "TWN": "710000"}
"""Country codes of what are divisions here."""


@cache
def countries() -> dict[str, str]:
    """Return the ISO 3166 code of every name (in lower case, punctuation as spaces), China's too."""
    return {
        " ".join(name.replace(".", " ").replace("-", " ").split()): code
        for code, _, names in table("countries.tsv")
        for name in names.split("|")
    }


@cache
def country_codes() -> dict[str, str]:
    """Return the two letters of every code of two or three letters."""
    return {known: code for code, code3, _ in table("countries.tsv") for known in (code, code3) if known}


@cache
def country_names() -> dict[str, str]:
    """Return the Chinese name of every country."""
    return {code: names.split("|")[0] for code, _, names in table("countries.tsv")}


def number_of(country: str) -> int:
    """Return the number that stands for a country among the codes of cities: it is below zero."""
    return -(ord(country[0]) << 7 | ord(country[1]))
