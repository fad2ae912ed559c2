"""Many messages in one buffer: where their quotes are, and columns of texts and times that stand somewhere between them.

Everything works on whole batches with numpy; no call loops over messages in Python. What looks at bytes here and there does so in
blocks that stay in the processor's cache: to fetch them from memory again and again would take most of the time.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]
Words = NDArray[np.uint64]
NO_ROWS: Final[Rows] = np.empty(0, np.int64)

BUFFER_BYTES_MAX: Final = 1 << 30
"""More messages than this, and the longest one, must not be in one buffer: positions have 32 bits."""
WIDTH: Final = 16
"""How many bytes `Messages.read` reads at once."""

_BLOCK_BYTES: Final = 256 << 10
_BLOCK_ROWS: Final = 16_384
_INLINE_BYTES: Final = 12
"""Arrow's views of texts have 16 bytes: four for the length, and twelve for the text itself, if it is not longer."""
_LENGTH_BYTES: Final = WIDTH - _INLINE_BYTES
_SHOWN: Final = np.array(
    [[0xFF * (place < _LENGTH_BYTES + length) for place in range(WIDTH)] for length in range(_INLINE_BYTES + 1)],
    np.uint8,
).view(np.complex128)[:, 0]
"""By length: masks for the bytes that belong to the text."""
_PAD_BYTES: Final = 64
"""How much stands before and behind the messages, so that bytes can be read around every position."""
_PADDING: Final = pl.Series(["." * _PAD_BYTES])


def blocks(count: int, columns: int = 1) -> Iterator[slice]:
    """Cut so many rows into blocks, such that as many columns of one have room in the cache."""
    size = max(1, _BLOCK_ROWS // columns)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


class Runs:
    """In which rows values stand: runs of them, one for some of the parts of a column.

    Args:
        given: Whether a part has values.
        sizes: The rows of each part.
    """

    def __init__(self, given: Sequence[bool], sizes: Sequence[int]) -> None:
        ends = list(accumulate(sizes))
        self._rows = ends[-1]
        self._runs = [slice(end - size, end) for here, size, end in zip(given, sizes, ends, strict=True) if here]
        self._all = all(given)

    def spread(self, values: NDArray[Any]) -> tuple[NDArray[Any], pa.Buffer | None]:
        """Put values into these rows; and say as Arrow does which these are, unless all are."""
        if self._all:
            return values, None
        spread, bits = np.zeros(self._rows, values.dtype), np.zeros(self._rows, np.bool_)
        done = 0
        for run in self._runs:
            spread[run] = values[done : done + run.stop - run.start]
            bits[run] = True
            done += run.stop - run.start
        return spread, pa.py_buffer(np.packbits(bits, bitorder="little"))

    def rows(self, values: Bools) -> Rows:
        """Those of these rows for which this holds."""
        if not values.any():
            return NO_ROWS
        return np.concatenate([np.arange(run.start, run.stop) for run in self._runs])[values]


class Messages:
    """Messages behind one another, with the quotes that are not escaped.

    Attributes:
        data: The messages, and something before and behind them.
        quotes: How many quotes each message has.
        escaped: Whether there is a backslash in any of them.
        spoilt: Which have a control character within a text.
    """

    def __init__(self, values: pl.Series) -> None:
        padded = pl.concat([_PADDING, values, _PADDING]).to_arrow(compat_level=pl.CompatLevel.oldest())
        _, ends, data = padded.buffers()
        self._ends = np.frombuffer(ends, np.int64)[1:-1].astype(np.int32)
        self.data = np.frombuffer(data, np.uint8, self._ends[-1] + _PAD_BYTES)
        # A type as wide as the width, of which nothing but its bits is used. Indices of 64 bits take numpy a shorter way.
        self._wide = np.ndarray(len(self.data) - WIDTH + 1, np.complex128, data, strides=(1,))
        self._quotes, backslashes, controls = self._found((np.equal, '"'), (np.equal, "\\"), (np.less, " "))
        self.escaped = len(backslashes) > 0
        if self.escaped:
            self._quotes = self._quotes[~np.isin(self._quotes, _behind_odd_runs(backslashes))]
        self._first = np.searchsorted(self._quotes, self._ends).astype(np.int32)
        self.quotes = np.diff(self._first)
        self.spoilt = np.zeros(len(values), np.bool_)
        if len(controls):
            where = np.searchsorted(self._ends, controls, "right") - 1
            within = (np.searchsorted(self._quotes, controls) - self._first[where]) % 2 == 1
            self.spoilt[where[within]] = True

    def _found(self, *sought: tuple[np.ufunc, str]) -> list[Ints]:
        """Find bytes in the messages: for each test and byte where it holds."""
        hits = np.empty(_BLOCK_BYTES, np.bool_)
        found = [[np.empty(0, np.int32)] for _ in sought]
        for start in range(_PAD_BYTES, len(self.data) - _PAD_BYTES, _BLOCK_BYTES):
            block = self.data[start : min(start + _BLOCK_BYTES, len(self.data) - _PAD_BYTES)]
            for (test, byte), places in zip(sought, found, strict=True):
                if test(block, ord(byte), out=hits[: len(block)]).any():
                    places.append(np.flatnonzero(hits[: len(block)]).astype(np.int32) + np.int32(start))
        return [np.concatenate(places) for places in found]

    def marks(self, numbers: Ints, rows: Rows, quotes: int) -> Ints:
        """Find the quotes `numbers` (one dimension) of `rows` (the other), all of which have as many `quotes`, at least one.

        Quotes are counted from 1; number 0 is where a message begins, the one too many where it ends.
        """
        marks: Ints = self._quotes[self._first[rows] + (np.minimum(numbers, quotes)[:, None] - np.int32(1))]
        marks[numbers == 0] = self._ends[rows]
        marks[numbers > quotes] = self._ends[rows + 1]
        return marks

    def read(self, places: Ints) -> tuple[Words, Words]:
        """Read `WIDTH` bytes from each place, as two little-endian numbers."""
        words = self._wide[places.astype(np.int64)].view("<u8")
        return words[..., ::2], words[..., 1::2]

    def message(self, row: int) -> bytes:
        """One of the messages."""
        return self.data[self._ends[row] : self._ends[row + 1]].tobytes()

    def texts(self, starts: Ints, stops: Ints, given: Runs | None = None) -> pl.Series:
        """The texts at these positions, as views into the buffer; with `given`, in these rows."""
        views = np.empty(len(starts), np.complex128)
        for block in blocks(len(starts)):
            views[block] = self._views(starts[block], stops[block] - starts[block])
        views, validity = given.spread(views) if given else (views, None)
        buffers = [validity, pa.py_buffer(views), pa.py_buffer(self.data)]
        return pl.Series(pa.Array.from_buffers(pa.string_view(), len(views), buffers), dtype=pl.String())

    def _views(self, starts: Ints, lengths: Ints) -> NDArray[np.complex128]:
        """Make Arrow's views: a length, and either all bytes, or the first four and where they are, in buffer number 0."""
        views = self._wide[starts.astype(np.int64) - _LENGTH_BYTES].view("<u4").reshape(len(starts), -1)
        views &= _SHOWN[np.minimum(lengths, _INLINE_BYTES)].view("<u4").reshape(views.shape)
        views[:, 0] = lengths
        long = lengths > _INLINE_BYTES
        if long.any():
            np.copyto(views[:, 2], 0, where=long)
            np.copyto(views[:, 3], starts, where=long, casting="unsafe")
        whole: NDArray[np.complex128] = views.view(np.complex128)[:, 0]
        return whole


def _behind_odd_runs(backslashes: Ints) -> Ints:
    """Give the positions behind odd numbers of backslashes: what stands there is escaped."""
    last = np.flatnonzero(np.append(np.diff(backslashes) != 1, True))
    lengths = np.diff(last, prepend=-1)
    behind: Ints = backslashes[last[lengths % 2 == 1]] + np.int32(1)
    return behind
