"""Skeletons read from left to right: which divisions the names in a text mean together.

The first name says roughly where; what follows makes it finer (杭州 西湖区), or is ignored where it does not fit (a street called
after another city). Names that only together make sense (山西 城区) are found by keeping all that a name may mean until
another name rules out some.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final, NamedTuple

from places.abroad import HOME, country_names
from places.divisions import COUNTY, PREFECTURE, PROVINCE, Division, cities_of, city_of, neighbours, towns
from places.names import Form, Reading, readings
from places.texts import BACK, CLOSE, COUNTRY, FIELD, HUB, OPEN, ROAD, ZONE, Piece, pieces

_NO_CITY: Final = frozenset[str]()


class Found(NamedTuple):
    """Where something lies, as far as its names tell.

    Attributes:
        divisions: What it may lie in; empty: no name was understood.
        also: Cities that it may lie in besides, for reasons other than its names.
        bare: Whether all there is to go by is a name that several cities have (鼓楼区).
        clash: Whether names contradict each other, and any of them may be right.
    """

    divisions: tuple[Division, ...] = ()
    also: frozenset[str] = _NO_CITY
    bare: bool = False
    clash: bool = False

    @property
    def codes(self) -> tuple[str, ...]:
        """Today's codes of the divisions."""
        return tuple(sorted({code for division in self.divisions for code in division.became}))

    @property
    def cities(self) -> frozenset[str] | None:
        """The cities that it may lie in, as they are compared; None where that is not known."""
        if not self.divisions or self.bare:
            return None
        if not self.clash and any(city_of(code) is None for code in self.codes):
            return None
        return frozenset(cities_of(self.codes)) | self.also

    @property
    def city(self) -> str | None:
        """The one city that it most probably lies in: of a city and counties of the same name elsewhere, the city."""
        if self.cities is None or self.clash:
            return None
        for level in (PREFECTURE, COUNTY):
            cities = cities_of(
                code for division in self.divisions if division.level <= level for code in division.became
            )
            if len(cities) == 1:
                return cities.pop()
        return None

    @property
    def county(self) -> str | None:
        """The one county in that city that it may lie in."""
        codes = [code for code in self.codes if city_of(code) == self.city]
        return codes[0] if len(codes) == 1 and _is_county(codes[0]) else None


class _Name(NamedTuple):
    text: str
    follows: bool
    first: bool
    """Whether its bracket, or the text, begins with it."""
    segment: int
    """Which bracket, or stretch between brackets, it stands in."""
    road: bool
    zone: bool
    hub: bool
    tail: str

    @property
    def means(self) -> tuple[Reading, ...]:
        return readings()[self.text]


def read_text(skeleton: str, within: Found | None = None, *, scanned: bool) -> Found:
    """Read a text, of which `within` is known already."""
    if any(piece.text == BACK for piece in pieces(skeleton)):
        return Found()
    reader = _Reader(within or Found(), scanned=scanned)
    for name in _names(pieces(skeleton)):
        reader.take(name)
    return reader.found()


def read_fields(skeletons: Iterable[str]) -> tuple[Found, bool]:
    """Read the fields province, city and district; return also whether the city's field names what is in the lists.

    Each skeleton ends with a `FIELD` sign; a field counts as a whole, or for what it begins with.
    """
    reader = _Reader(Found(), scanned=False)
    listed = False
    for at, skeleton in enumerate(skeletons):
        field = list(pieces(skeleton))
        names = list(_names(field))
        if names and _understood(names, field):
            listed |= at == _CITY
            for name in names:
                reader.take(name, level=_LEVELS[at])
    return reader.found(), listed


def names_in(skeleton: str) -> list[str]:
    """Return the names in a text, for people to read."""
    names = (piece.text for piece in pieces(skeleton) if piece.text not in {OPEN, CLOSE, FIELD, *_SIGNS})
    return [country_names().get(name.removeprefix(COUNTRY), name) for name in dict.fromkeys(names)]


def country_of(skeleton: str) -> str | None:
    """Return the country that a text begins with, if it is not China."""
    first = next((piece.text for piece in pieces(skeleton) if piece.text not in {OPEN, CLOSE, FIELD}), "")
    code = first.removeprefix(COUNTRY)
    return code if code not in {first, HOME} else None


_CITY: Final = 1
_LEVELS: Final = (PROVINCE, PREFECTURE, COUNTY)


class _Reader:
    """What has been understood so far."""

    def __init__(self, within: Found, *, scanned: bool) -> None:
        self._now = list(within.divisions)
        self._once: list[Division] = []
        """Former divisions that the last name could also have meant."""
        self._alone = False
        """Whether the first name is all there is so far."""
        self._also = set[str]()
        self._scanned = scanned
        self._bare = self._clash = False
        self._segment = 0
        """Where the city was found."""
        self._joined = False
        """Whether the last name was understood, so that one that follows it directly belongs to it."""

    def found(self) -> Found:
        """Return the result."""
        also = set(self._also)
        if self._alone:  # 江北区 alone is in Ningbo, but was in Chongqing not long ago.
            recent = (one for one in self._once if one.until is not None and one.until >= _STILL_SAID)
            also |= cities_of(code for one in recent for code in one.became)
        return Found(tuple(dict.fromkeys(self._now)), frozenset(also), self._bare, self._clash)

    def take(self, name: _Name, level: int | None = None) -> None:
        """Read one more name; of what it means prefer divisions of this level or below."""
        joined, self._joined = self._joined and name.follows, False
        if name.road and (len(name.text) < _SURE_LENGTH or name.means[0].form is Form.SHORT):
            return
        means = name.means
        if level is not None:
            means = tuple(one for one in means if one.division.level >= level or not _has_part(one, means))
        chosen = level is not None
        if not self._now:
            self._joined = self._start(name, means, chosen=chosen)
        elif self._repeat(means) or self._refine(name, means, joined=chosen or joined):
            self._joined = True
        else:
            self._joined = self._differ(name, means, chosen=chosen, joined=chosen or joined)

    def _start(self, name: _Name, means: tuple[Reading, ...], *, chosen: bool) -> bool:
        """Take the first name: an official name for itself, a short one for all that it may mean."""
        if _is_vague(name.text) and not chosen:
            return False
        form = means[0].form
        if form is Form.SHORT:
            means = tuple(
                one for one in means if one.division.level < COUNTY or chosen or self._stands_alone(name, means)
            )
        else:
            means = tuple(one for one in means if one.form is form)
        self._now = _distinct(one.division for one in means)
        self._once = [one.division for one in name.means if one.division.is_former]
        self._segment = name.segment
        self._alone = True
        cities = cities_of(code for one in self._now for code in one.became)
        self._bare = all(one.level == COUNTY for one in self._now) and len(self._now) > 1 and len(cities) > 1
        if self._bare and name.tail:
            self._choose([one for one in self._now if any(_has_town(code, name.tail) for code in one.became)])
        return bool(self._now)

    def _stands_alone(self, name: _Name, means: tuple[Reading, ...]) -> bool:
        """Return whether a short name of counties may be meant with nothing before it: it could be any word."""
        if self._scanned:
            return name.first or name.follows
        return name.zone or (name.first and len(means) == 1 and means[0].division.name.endswith("市"))

    def _repeat(self, means: tuple[Reading, ...]) -> bool:
        """Keep what lies in what this name means, if anything does: 朝阳区 … 北京市, 吉林市吉林省."""
        kept = [one for one in self._now if any(one.lies_in(reading.division) for reading in means)]
        deeper = [one for one in kept if any(one is not other and one.lies_in(other) for other in kept)]
        return self._choose(deeper or kept)

    def _refine(self, name: _Name, means: tuple[Reading, ...], *, joined: bool) -> bool:
        """Go on to what lies in what is known."""
        inside = [one for one in means if any(one.division.lies_in(other) for other in self._now)]
        is_short_county = inside and inside[0].form is Form.SHORT and inside[0].division.level == COUNTY
        if is_short_county and not (joined or name.zone or (self._scanned and name.first)):
            return True  # It fits, but stands anywhere in the text: a street, a shop.
        inside = [one for one in inside if one.form is inside[0].form]
        sure = [one.division for one in inside if not one.division.is_former] or [one.division for one in inside]
        before = {city for one in self._now if one.level > PROVINCE for city in cities_of(one.became)}
        if not self._choose(_uppermost(sure)):
            return False
        self._once = [one.division for one in means if one.division.is_former]
        if self._scanned and name.segment > self._segment:
            self._also |= (
                before  # If the station's county moved to another city, the city named first may still be right.
            )
            for code in (code for one in self._now for code in one.became):
                self._also |= neighbours().get(code, _NO_CITY)
        return True

    def _differ(self, name: _Name, means: tuple[Reading, ...], *, chosen: bool, joined: bool) -> bool:
        """Weigh a name that does not fit: ignore it, or let both be possible."""
        known = cities_of(code for one in self._now for code in one.became)
        others = [one.division for one in means if one.division.level >= PREFECTURE]
        if moved := [one for one in others if any(one.lies_in(once) for once in self._once)]:
            return self._choose(moved)  # 巢湖市含山县: it belonged to the prefecture that 巢湖 then was.
        if not others or not known.isdisjoint(cities_of(code for one in others for code in one.became)):
            return False
        if self._scanned and name.segment > self._segment:
            if not name.hub:
                self._also |= cities_of(code for one in others for code in one.became)
        elif joined and (chosen or not name.text.endswith("区")) and means[0].form < Form.VARIANT:
            self._now = _distinct([*self._now, *others])
            self._alone = self._bare = False
            self._clash = True
            return True
        return False

    def _choose(self, divisions: list[Division]) -> bool:
        if divisions:
            self._alone = False
            self._now = _distinct(divisions)
            cities = cities_of(code for one in self._now for code in one.became)
            self._bare = self._bare and len(cities) > 1
        return bool(divisions)


_SURE_LENGTH: Final = 3
"""Names shorter than this are common words as well."""
_STILL_SAID: Final = "2016-01"
"""What was gone before is no longer meant by a name that stands alone; in its context it still is understood."""


def _names(of: Iterable[Piece]) -> Iterator[_Name]:
    """Return the names among the pieces, with the signs around them."""
    all_pieces = list(of)
    segment, opened = 0, True
    for at, piece in enumerate(all_pieces):
        if piece.text in {OPEN, CLOSE, FIELD}:
            segment += 1
            opened = True
        elif piece.text not in _SIGNS and not piece.text.startswith(COUNTRY):
            after = all_pieces[at + 1] if at + 1 < len(all_pieces) else _NOTHING
            within = (one.text for one in all_pieces[at + 1 :])
            hub = HUB in _until(within, {CLOSE, OPEN, FIELD})
            first = opened and piece.follows
            yield _Name(
                piece.text,
                piece.follows,
                first,
                segment,
                after.text == ROAD and after.follows,
                after.text == ZONE and after.follows,
                hub,
                piece.tail,
            )
            opened = False


_SIGNS: Final = {ROAD, ZONE, HUB, BACK}
_NOTHING: Final = Piece("", follows=False, tail="")


def _until(texts: Iterable[str], ends: set[str]) -> list[str]:
    found = []
    for text in texts:
        if text in ends:
            break
        found.append(text)
    return found


def _understood(names: list[_Name], field: list[Piece]) -> bool:
    """Return whether a field is what the names say: nothing but names, or beginning with a full one."""
    whole = all(piece.follows for piece in field)
    return whole or (field[0].follows and names[0].means[0].form is not Form.SHORT)


def _distinct(divisions: Iterable[Division]) -> list[Division]:
    return list(dict.fromkeys(divisions))


def _uppermost(divisions: list[Division]) -> list[Division]:
    """Leave out what lies in another of them: 新乡 is the city, not the county in it."""
    return [one for one in divisions if not any(one is not other and one.lies_in(other) for other in divisions)]


def _has_part(one: Reading, means: Iterable[Reading]) -> bool:
    """Return whether another division that is meant lies in this one: 吉林 as a city is 吉林市, not the province around it."""
    return any(other is not one and other.division.lies_in(one.division) for other in means)


def _is_vague(name: str) -> bool:
    """Return whether a name is a common word as well: 城区, 西区."""
    return len(name) < _SURE_LENGTH and name.endswith("区")


def _is_county(code: str) -> bool:
    return not code.endswith("00")


@cache
def _has_town(county: str, tail: str) -> bool:
    """Return whether what follows a county's name is one of its towns, and not a street that is called like it."""
    return any(
        tail.startswith(town) and tail[len(town) : len(town) + 1] not in _ROADS for town in towns().get(county, ())
    )


_ROADS: Final = tuple("路街道巷")
