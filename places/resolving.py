"""From the fields and texts of orders and scans to the cities that they may lie in.

`reduced` works in columns and leaves of every row what its place is known by; `resolve` reads each distinct one of these.
Both are pure: the same fields always mean the same place.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import polars as pl

from places.abroad import HERE, HOME, countries, country_codes, country_names, number_of
from places.divisions import cities_of, city_of, common, full_name, neighbours, towns
from places.names import PEOPLES, readings
from places.reading import Found, country_of, names_in, read_fields, read_text
from places.texts import COUNTRY, FIELD, HUB, replacements, skeleton_of, skeletons

KEY: Final = ("country", "province", "city", "district", "words")
"""What a place is known by: its fields as written, and the skeletons of its texts where the fields name no city."""

RESOLVED: Final = pl.Schema(
    {
        "place": pl.String(),
        "cities": pl.List(pl.Int32()),
        "city": pl.String(),
        "division": pl.Int32(),
        "unlisted_city": pl.String(),
        "unlisted_province": pl.String(),
        "unlisted_county": pl.String(),
        "postal": pl.String(),
    }
)
"""What is known of a place.

`place`: as written; of a text, the names in it. `cities`: the codes of the cities that it may lie in (330100; below zero: a
country); null where that is not known. `city`: the same for people to read. `division`: the six-digit code of the smallest
division in which it certainly lies. `unlisted_city`, `…_province`, `…_county`: a city that is in no list, with its
province and county, as they are compared; null for all others. `postal`: abroad, the beginning of the postal code.
"""

_NOTHING_MEANT: Final = frozenset(
    {"市辖区", "县", "市", "区", "未知", "无", "其他", "其它", "暂无", "null", "none", "na", "nan"}
)
_CITY_ENDING: Final = re.compile(f"^(.+?)(?:{PEOPLES}+自治州|市|地区|盟|特别行政区)$")
_PROVINCE_ENDING: Final = re.compile("^(.+?)(?:(?:壮族|回族|维吾尔)?自治区|省|市|特别行政区)$")
_LATIN_ENDING: Final = re.compile(r"(?<=\w)\s+(?:city|shi|sheng|province)\s*$", re.IGNORECASE)
_POSTAL: Final = r"\b(\d{3}-\d{4}|\d{5}|[a-z]\d[a-z] ?\d[a-z]\d|[a-z]{1,2}\d[a-z\d]? \d[a-z]{2}|\d{4}|\d{6})\b"
_POSTAL_LENGTH: Final = 3

_SCAN: Final = "\x19"
"""Before the words of scans: these are read in another way."""
_NEXT: Final = "\x1a"
"""Between the skeletons of several texts, the best first."""
_CODE: Final = "\x18"
"""Before a postal code, behind the words."""
_CITIES_SHOWN_MAX: Final = 3


def reduced(places: pl.DataFrame, *, scanned: bool) -> pl.DataFrame:
    """Return the `KEY` of each row of `places`.

    Orders have the columns province, city, district, detail and place_text, scans (`scanned`) country, province, city, district,
    facility, place_text and description.
    """
    country = pl.col("country") if scanned else pl.lit(None, pl.String).alias("country")
    key = places.select(country, "province", "city", "district", words=pl.lit(None, pl.String))
    unnamed = places.select(pl.col("city").is_null() & pl.col("district").is_null()).to_series()
    if not unnamed.any():
        return key
    texts = places.filter(unnamed)
    words = _words_of_scans(texts) if scanned else _words_of_orders(texts)
    return key.with_columns(key["words"].scatter(unnamed.arg_true(), words))


def _words_of_orders(places: pl.DataFrame) -> pl.Series:
    text = places.select(pl.concat_str("place_text", "detail", separator=FIELD, ignore_nulls=True)).to_series()
    words = skeletons(text, scanned=False).to_frame("words").select(pl.when(pl.col("words") != "").then("words"))
    return _with_postal(words.to_series(), text)


def _words_of_scans(places: pl.DataFrame) -> pl.Series:
    """Reduce the text with the facility, or the facility alone; the description counts where that tells nothing.

    A sorting centre counts last: it may be called after another city than it stands in.
    """
    text = places.select(pl.concat_str("place_text", "facility", separator=FIELD, ignore_nulls=True)).to_series()
    both = skeletons(pl.concat([text, places["description"]], rechunk=True), scanned=True)  # together: see `resolve`
    here = pl.DataFrame(
        {"told": places["place_text"].is_not_null(), "here": both.head(len(places)), "story": both.tail(len(places))}
    )
    is_hub = ~pl.col("told") & pl.col("here").str.contains(HUB, literal=True)
    words = here.select(
        pl.concat_str(
            pl.when((pl.col("here") != "") & ~is_hub).then("here"),
            pl.when(pl.col("story") != "").then("story"),
            pl.when((pl.col("here") != "") & is_hub).then("here"),
            separator=_NEXT,
            ignore_nulls=True,
        ).alias("words")
    )
    words = words.select(pl.when(pl.col("words") != "").then(pl.lit(_SCAN) + pl.col("words")))
    return _with_postal(words.to_series(), text)


def _with_postal(words: pl.Series, text: pl.Series) -> pl.Series:
    """Add the beginning of the postal code where a text names a country."""
    if not words.str.contains(COUNTRY, literal=True).any():
        return words
    code = pl.lit(_CODE) + pl.col("text").str.to_lowercase().str.extract(_POSTAL).str.slice(0, _POSTAL_LENGTH)
    abroad = pl.col("words").str.contains(COUNTRY, literal=True)
    both = pl.DataFrame({"words": words, "text": text})
    return both.select(pl.col("words") + pl.when(abroad).then(code).fill_null("")).to_series()


class _Fields(NamedTuple):
    country: str | None
    province: str | None
    city: str | None
    district: str | None


def load_names() -> None:
    """Load the lists of names, a third of a second. Else the first places wait for them."""
    replacements()
    neighbours()
    towns()


def resolve(keys: pl.DataFrame) -> pl.DataFrame:
    """Return `RESOLVED` for each row of `KEY`."""
    rows = keys.select(KEY).rows()
    meant = [_meant(part) for row in rows for part in row[1:4]]
    # Nearly all fields are a name as it is known. The others together: to prepare for a search takes longer than to search.
    odd = sorted({part for part in meant if part is not None and part not in readings()})
    searched = (
        dict(zip(odd, skeletons(pl.Series([part + FIELD for part in odd]), scanned=False), strict=True)) if odd else {}
    )
    read = [searched[part] if part in searched else skeleton_of(part) if part else "" for part in meant]
    found = [_resolve_one(_Fields(*row[:4]), row[4] or "", read[3 * at : 3 * at + 3]) for at, row in enumerate(rows)]
    return pl.DataFrame(found, RESOLVED, orient="row")


def _resolve_one(fields: _Fields, words: str, fields_read: list[str]) -> dict[str, Any]:
    words, _, postal = words.partition(_CODE)
    scanned = words.startswith(_SCAN)
    texts = words.removeprefix(_SCAN).split(_NEXT) if words else []
    result = dict.fromkeys(RESOLVED) | {"place": _written(fields, texts)}
    found, city_is_listed = read_fields(fields_read)
    country = _country(fields, texts)
    if country is not None:
        return result | _abroad(country, fields, postal or None)
    city = _compared(fields.city, _CITY_ENDING)
    if city is not None and not city_is_listed:
        province, _ = read_fields(fields_read[:1])
        if province.cities is None:  # Else it is one of those that are a city as a whole, whatever its field says.
            return result | _unlisted(city, fields, province)
    if found.cities is None:
        read = [read_text(text, found, scanned=scanned) for text in texts]
        found = next((one for one in read if one.cities is not None), found if found.divisions or not read else read[0])
    cities = found.cities
    return result | {
        "cities": None if cities is None else sorted(map(int, cities)),
        "city": None if cities is None else _label({city_of(code) or code for code in found.codes} | found.also),
        "division": common((*found.codes, *found.also)),
    }


def _abroad(country: str, fields: _Fields, postal: str | None) -> dict[str, Any]:
    if country in HERE:
        code = HERE[country]
        return {"cities": [int(code)], "city": _label([code]), "division": common([code])}
    name = _compared(fields.city, _CITY_ENDING)
    return {
        "cities": [number_of(country)],
        "city": country_names()[country],
        "unlisted_city": None if name in countries() else name,
        "postal": postal,
    }


def _unlisted(city: str, fields: _Fields, found: Found) -> dict[str, Any]:
    """Return what is known of a city that is in no list: it may be anywhere in its province, and is compared by its name."""
    county = _meant(fields.district)
    return {
        "cities": sorted(map(int, cities_of(found.codes))) or None,
        "division": common(found.codes),
        "unlisted_city": city,
        "unlisted_province": _compared(fields.province, _PROVINCE_ENDING),
        "unlisted_county": county.removesuffix("市") if county and county.endswith("市") else None,
    }


def _country(fields: _Fields, texts: Iterable[str]) -> str | None:
    """Return the code of the country, if it is given and is not China."""
    if fields.country is not None:
        code = country_codes().get(fields.country.strip().upper()) or countries().get(fields.country.strip().casefold())
        code = fields.country.strip().upper() if fields.country.strip().upper() in HERE else code
        if code is not None:
            return None if code == HOME else code
    for field in (fields.province, fields.city):
        code = countries().get((field or "").strip().casefold(), HOME)
        if code != HOME:
            return code
    return next((code for text in texts if (code := country_of(text)) is not None), None)


def _meant(field: str | None) -> str | None:
    """Return a field as it is compared: without space, punctuation and full-width forms; None where it means nothing."""
    folded = unicodedata.normalize("NFKC", field or "").casefold()
    plain = "".join(sign for sign in folded if not sign.isspace() and unicodedata.category(sign)[0] not in "ZPSC")
    return plain if plain and plain not in _NOTHING_MEANT and "直辖" not in plain else None


def _compared(field: str | None, ending: re.Pattern[str]) -> str | None:
    plain = _meant(_LATIN_ENDING.sub("", field or ""))
    if plain is None:
        return None
    bare = ending.sub(r"\1", plain)
    letters = unicodedata.normalize("NFKD", bare)  # São Paulo is Sao Paulo.
    return "".join(sign for sign in letters if not unicodedata.combining(sign))


def _written(fields: _Fields, texts: Iterable[str]) -> str | None:
    written = [part for part in fields[1:] if part]
    names = next((names for text in texts if (names := names_in(text))), [])
    return " ".join([*written, *names]) or fields.country


def _label(codes: Iterable[str]) -> str:
    names = [full_name(code) for code in sorted(codes)]
    shown = " / ".join(names[:_CITIES_SHOWN_MAX])
    return shown if len(names) <= _CITIES_SHOWN_MAX else f"{shown} / …"
