"""Times as RFC 3339 has them, read from a buffer: eight bytes at once, as the digits of a number."""

from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.buffers import WIDTH, Bools, Ints, Messages, Rows, Runs, Words, blocks

_WORD_BYTES: Final = 8
_WHOLE_BYTES: Final = len("2026-11-11T12:00:00")
_ZONE_BYTES: Final = len("+08:00")
_DIGITS_MAX: Final = 9
"""Of a fraction."""
_MICROSECONDS: Final = 1_000_000
_LIMITS: Final = ((1, 9997), (1, 12), (0, 23), (0, 59), (0, 59), (0, 23), (0, 59))
"""Of years, in which no time is out of range whatever its offset, months, hours, minutes, seconds, and offsets."""
_MONTHS: Final = np.arange("0000-01", "9999-02", dtype="M8[M]").astype("M8[D]").astype(np.int64)
"""The days, counted from 1970, on which the months since the year 0 begin."""


def _word(data: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(data, "little"))


class _Pattern:
    """What eight bytes look like: `0` is any digit, `?` is anything."""

    def __init__(self, pattern: bytes) -> None:
        self._digits = _word(bytes(byte if byte == ord("0") else 0 for byte in pattern))
        self._halves = self._digits * np.uint64(5)
        self._sixes = self._digits // np.uint64(8)
        self._mask = self._halves | _word(bytes(0 if byte in b"0?" else 0xFF for byte in pattern))
        self._masked = _word(bytes(0 if byte == ord("?") else byte for byte in pattern))

    def matches(self, words: Words) -> Bools:
        """Tell which words look like this."""
        # The upper half of a digit is a 3, and still is when 6 is added to it.
        alike: Bools = (words & self._mask == self._masked) & (words + self._sixes & self._halves == self._digits)
        return alike


_DATE: Final = _Pattern(b"0000-00-")
_CLOCKS: Final = (_Pattern(b"00T00:00"), _Pattern(b"00 00:00"))
_SECOND: Final = _Pattern(b":00?????")
_FRACTION: Final = _Pattern(b"00000000")
_NINTH: Final = _Pattern(b"????0???")
_ZONES: Final = (_Pattern(b"+00:00??"), _Pattern(b"-00:00??"))
_ZEROS: Final = _word(b"0" * _WORD_BYTES)
_FIRST_BYTES: Final = np.array([(1 << 8 * min(count, _WORD_BYTES)) - 1 for count in range(_DIGITS_MAX + 1)], np.uint64)
"""Masks for the first bytes of eight, by their number."""


def times(messages: Messages, starts: Ints, stops: Ints, given: Runs) -> tuple[pl.Series, Rows]:
    """The times at these positions, in the rows `given`; and which of these could not be read.

    Digits beyond the microsecond are cut off. Lower-case letters and more than nine digits are not read.
    """
    micros = np.empty(len(starts), np.int64)
    good = np.empty(len(starts), np.bool_)
    for block in blocks(len(starts)):
        micros[block], good[block] = _micros(messages, starts[block], stops[block])
    values, validity = given.spread(micros)
    read = pa.Array.from_buffers(pa.timestamp("us", "UTC"), len(values), [validity, pa.py_buffer(values)])
    return pl.Series(read), given.rows(~good)


def _micros(messages: Messages, starts: Ints, stops: Ints) -> tuple[Rows, Bools]:
    """Read times as microseconds since 1970, and tell which are right."""
    date, clock = messages.read(starts)
    second, more = messages.read(starts + np.int32(WIDTH))
    zone, _ = messages.read(stops - np.int32(_ZONE_BYTES))
    utc = messages.data[stops - np.int32(1)] == ord("Z")
    # Of a fraction, its point included: none at all is right too.
    size = stops - starts - np.int32(_WHOLE_BYTES) - np.where(utc, np.int32(1), np.int32(_ZONE_BYTES))
    point = second >> np.uint64(24) & np.uint64(0xFF) == ord(".")
    good = (size == 0) | point & (size > 1) & (size <= 1 + _DIGITS_MAX)
    shown = _FIRST_BYTES[np.clip(size - 1, 0, _DIGITS_MAX)]
    fraction = (second >> np.uint64(32) | more << np.uint64(32)) & shown | _ZEROS & ~shown

    good &= _DATE.matches(date) & (_CLOCKS[0].matches(clock) | _CLOCKS[1].matches(clock)) & _SECOND.matches(second)
    good &= _FRACTION.matches(fraction) & (_NINTH.matches(more) | (size <= _DIGITS_MAX))
    behind = _ZONES[1].matches(zone)
    good &= utc | behind | _ZONES[0].matches(zone)

    date, clock, second, fraction, zone = map(_pairs, (date, clock, second, fraction, zone))
    year = _pair(date, 0) * 100 + _pair(date, 2)
    month, day, hour, minute = _pair(date, 5), _pair(clock, 0), _pair(clock, 3), _pair(clock, 6)
    zone_hour, zone_minute = np.where(utc, 0, _pair(zone, 1)), np.where(utc, 0, _pair(zone, 4))
    for value, limits in zip(
        (year, month, hour, minute, _pair(second, 1), zone_hour, zone_minute), _LIMITS, strict=True
    ):
        good &= (value >= limits[0]) & (value <= limits[1])
    at = np.where(good, year * 12 + month - 1, 0)
    good &= (day >= 1) & (day <= _MONTHS[at + 1] - _MONTHS[at])
    minutes = (
        ((_MONTHS[at] + day - 1) * 24 + hour) * 60 + minute - np.where(behind, -1, 1) * (zone_hour * 60 + zone_minute)
    )
    parts = _pair(fraction, 0) * 10_000 + _pair(fraction, 2) * 100 + _pair(fraction, 4)
    return (minutes * 60 + _pair(second, 1)) * _MICROSECONDS + parts, good


def _pairs(words: Words) -> Words:
    """Put into each byte the number of the two digits that begin there."""
    digits = words & _word(b"\x0f" * _WORD_BYTES)
    return digits * np.uint64(10) + (digits >> np.uint64(8))


def _pair(pairs: Words, place: int) -> Rows:
    return (pairs.view(np.int64) >> 8 * place) & 0xFF
