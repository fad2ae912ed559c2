"""The places of facts, as numbers, and texts as they are compared."""

from typing import Final

import numpy as np
import polars as pl

from pipeline.arrays import NONE, Bools, Ints, Keys, Memo, Tables, hash_of, prefixed
from places.resolving import KEY, RESOLVED, reduced, resolve

_WHERE: Final = ("province", "city", "district")
_TEXTS: Final = {False: ("place_text", "detail"), True: ("place_text", "facility", "description")}
"""What an order's and a scan's place may be read from where no field names a city."""
_SEEN_MAX: Final = 1 << 20
"""So many writings of places are remembered (some 50 MB): texts with a courier's name in them never end."""


def squash(text: pl.Expr) -> pl.Expr:
    """Return `text` without white space, punctuation, symbols and full-width forms; empty becomes null."""
    squashed = text.str.normalize("NFKC").str.replace_all(r"[\s\p{Z}\p{P}\p{S}\p{C}]", "")
    return pl.when(squashed != "").then(squashed)


class Places:
    """The distinct places of facts, with what they are compared by.

    A place that is written as one before is found by one hash. Others are reduced to what they are known by, in columns, and
    only what is new after that is read: names, not house numbers.
    """

    def __init__(self) -> None:
        self._seen = {scanned: Memo(_SEEN_MAX) for scanned in (False, True)}
        """By the hash of what was written, the id of the place: `NONE` if that says nothing."""
        self._keys = Keys(*KEY)
        self.resolved = pl.DataFrame(schema=RESOLVED)
        """`RESOLVED`, by id."""
        self._divisions = np.zeros(1, np.int32)
        """By id, 0 where none is known; last, for `NONE`, another 0."""
        self._told = pl.DataFrame(schema=RESOLVED).clear(1)
        """As `resolved`, and last a row of nulls for `NONE`."""
        self._names_city = np.zeros(1, np.bool_)
        """By id, and last for `NONE`."""

    def add(self, frame: pl.DataFrame, *, scanned: bool) -> Ints:
        """Return the id of each row's place, `NONE` where it says nothing; of scans, if `scanned`, else of orders."""
        fields = ("country", *_WHERE) if scanned else _WHERE
        named = pl.col("city").is_not_null() | pl.col("district").is_not_null()
        texts = [pl.when(~named).then(name).alias(name) for name in _TEXTS[scanned]]
        written = frame.select(*fields, *texts)
        told = written.select(pl.any_horizontal(pl.all().is_not_null())).to_series().to_numpy()
        ids = np.full(len(frame), NONE, np.int32)
        if told.any():
            ids[told] = self._ids(written.filter(pl.Series(told)), scanned=scanned)
        return ids

    def _ids(self, written: pl.DataFrame, *, scanned: bool) -> Ints:
        hashes = written.select(hash_of(dict(enumerate(map(pl.col, written.columns))))).to_series().to_numpy()
        return self._seen[scanned].of(hashes, lambda new: self._read(written[new], scanned=scanned))

    def _read(self, written: pl.DataFrame, *, scanned: bool) -> Ints:
        keys = reduced(written, scanned=scanned)
        told = keys.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
        ids = np.full(len(keys), NONE, np.int32)
        ids[told.to_numpy()] = self._keys.add(keys.filter(told))
        self.settle()
        return ids

    def settle(self) -> None:
        """Resolve the places that are not resolved yet."""
        if (known := len(self.resolved)) < len(self._keys):
            new = np.arange(known, len(self._keys), dtype=np.int32)
            self.resolved = self.resolved.vstack(resolve(self._keys.names(new))).rechunk()
            self._told = pl.concat([self.resolved, self.resolved.clear(1)], rechunk=True)
            self._divisions = np.append(self.resolved["division"].fill_null(0).to_numpy(), 0).astype(np.int32)
            named = self.resolved.select(pl.any_horizontal(pl.col("cities", "unlisted_city").is_not_null()))
            self._names_city = np.append(named.to_series().to_numpy(), False)

    def tables(self) -> Tables:
        """Return all that is held, but for what `settle` makes of it."""
        tables = prefixed("keys", self._keys.tables())
        for scanned, seen in self._seen.items():
            tables |= prefixed("scanned" if scanned else "ordered", seen.tables())
        return tables

    def divisions_of(self, ids: Ints) -> Ints:
        """Return the code of the smallest division in which each place certainly lies; 0: none, or the id is `NONE`."""
        return self._divisions[ids]

    def part(self, name: str, ids: Ints) -> pl.Series:
        """Return what is known of places, a column of `RESOLVED`; null for `NONE`."""
        rows = np.where(ids == NONE, len(self.resolved), ids).astype(np.uint32)
        return self._told[name][rows]

    def name_a_city(self, ids: Ints) -> Bools:
        """Return which places name a city, be it in a list or not; `NONE` does not."""
        return self._names_city[ids]
