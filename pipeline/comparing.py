"""Whether two places lie in different cities, asked once for each pair of places."""

from typing import Final

import numpy as np
import polars as pl

from detectors._contract import lie_apart
from pipeline.arrays import NONE, Hashes, Ints, Memo
from pipeline.places import Places

_COMPARED: Final = ("cities", "unlisted_city", "unlisted_province", "unlisted_county", "postal")
_PAIRS_MAX: Final = 1 << 20
"""So many pairs are remembered (some 24 MB)."""
_NO, _YES, _UNTOLD = range(3)
_ANSWERS: Final = pl.Series([False, True, None])


class Comparisons:
    """What has been found of pairs of places. An id means the same place for ever, so an answer holds for ever."""

    def __init__(self) -> None:
        self._known = Memo(_PAIRS_MAX)

    def elsewhere(self, places: Places, one: Ints, other: Ints) -> pl.Series:
        """Return of each pair of ids in `places` whether they lie in different cities; null where that cannot be told."""
        answers = np.full(len(one), _UNTOLD, np.int32)
        both = np.flatnonzero((one != NONE) & (other != NONE))
        if both.size:
            one, other = one[both], other[both]
            pairs = _scattered(one, other)
            answers[both] = self._known.of(pairs, lambda new: _look(places, one[new], other[new]))
        return _ANSWERS[answers]


def _scattered(one: Ints, other: Ints) -> Hashes:
    """Return a number for each pair, a different one for every pair, whose low bits depend on all of it."""
    pair = one.astype(np.uint64) << np.uint64(32) | other.astype(np.uint64)
    return (pair * np.uint64(0x9E3779B97F4A7C15)).byteswap()


def _look(places: Places, one: Ints, other: Ints) -> Ints:
    pair = pl.DataFrame(
        [
            places.part(name, ids).alias(f"{side}_{name}")
            for side, ids in (("one", one), ("other", other))
            for name in _COMPARED
        ]
    )
    apart = pair.select(lie_apart("one", "other").cast(pl.Int32).fill_null(_UNTOLD).alias("apart"))
    found: Ints = apart["apart"].to_numpy()
    return found
