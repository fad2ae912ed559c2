"""Messages in columns by their shape: `Shapes` learns a shape from one message, and then reads all that are like it.

The messages of a producer differ in hardly more than what stands between their quotes. A shape is all the rest, byte by byte, with
the values left open, and their `type`. JSON's own reader looks at a shape once. From then on numpy compares: a message that has
all the bytes of a shape, and open values that are texts or numbers as JSON has them, is JSON too, and means the same.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.buffers import NO_ROWS, WIDTH, Bools, Ints, Messages, Rows, Runs, Words, blocks
from pipeline.times import times

_BRACKETS_MAX: Final = 64
"""In one message: readers of JSON differ in how deep they look."""
_SHAPES_MAX: Final = 50
"""Of one number of quotes; what was not met for longest is forgotten."""
_LEARNED_MIN: Final = 32
_MESSAGES_PER_LEARNED: Final = 500
"""Learning a shape takes as long as reading a hundred messages. Where there are too many, the models read the rest."""

_NUMBER: Final = r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?"
"""A number that nothing reads in two ways: without exponent, and short."""
_TOKEN: Final = re.compile(
    rb'"(?P<text>(?:[^"\\]|\\.)*)"(?P<key>[ \t\r\n]*:)?|(?P<number>[-+.0-9][-+.0-9eE]*)', re.DOTALL
)


class _Point(NamedTuple):
    """A place that all messages of a shape have: so many bytes behind one of its quotes.

    Quotes are counted from 1; number 0 is where the message begins, the one too many where it ends.
    """

    quote: int
    offset: int


class Slot(NamedTuple):
    """A value that is left open: a text without its quotes, or a number."""

    start: _Point
    stop: _Point
    is_number: bool


class Layout(NamedTuple):
    """Which columns a shape has, and where. Other values are looked at only to be sure that they are JSON.

    Attributes:
        texts: Columns of texts.
        integers: Columns of whole numbers, 32 bits.
        times: Columns of times.
        lists: Columns of lists of texts, none of them empty.
    """

    texts: dict[str, Slot]
    integers: dict[str, Slot]
    times: dict[str, Slot]
    lists: dict[str, list[Slot]]


class Cut(NamedTuple):
    """Messages in columns.

    Attributes:
        rows: Which they are.
        columns: Their `type`, and those of their layouts, null where the layout of a message has none.
    """

    rows: Rows
    columns: list[pl.Series]


class _Fixed(NamedTuple):
    """What stands between two slots, or beside the outermost."""

    start: _Point
    stop: _Point
    data: bytes

    @property
    def unsure(self) -> range:
        """Where in `data` to compare, `WIDTH` bytes each time: what is a quote at its ends was found as one."""
        begins = self.start.quote > 0 and self.start.offset == 0
        return range(begins, len(self.data) - (self.stop.offset == 1), WIDTH)


class _Shape:
    """What some messages have in common.

    Args:
        kind: Their `type`.
        quotes: How many quotes each has.
        layout: Where its columns are.
        slots: All values that are open, in their order.
        fixed: What stands between these.
    """

    def __init__(self, kind: str, quotes: int, layout: Layout, slots: Sequence[Slot], fixed: Sequence[_Fixed]) -> None:
        self.kind = kind
        self.layout = layout
        self._quotes = quotes
        points = [point for each in fixed for point in (each.start, each.stop)]
        self._marks = np.array([point.quote for point in points], np.int32)
        self._offsets = _upright([point.offset for point in points], np.int32)
        self._lengths = _upright([len(each.data) for each in fixed], np.int32)
        pieces = [(number, at) for number, each in enumerate(fixed) for at in each.unsure]
        data = [fixed[number].data[at : min(at + WIDTH, fixed[number].unsure.stop)] for number, at in pieces]
        self._starts = np.array([2 * number for number, _ in pieces])
        self._behind = _upright([at for _, at in pieces], np.int32)
        self._bytes = _words(data)
        self._masks = _words([b"\xff" * len(each) for each in data])
        self._places = {slot: 2 * number + 1 for number, slot in enumerate(slots)}
        named = {*layout.texts.values(), *layout.integers.values(), *layout.times.values()}.union(
            *layout.lists.values()
        )
        self._numbers = [slot for slot in slots if slot.is_number]
        self._unnamed_texts = [slot for slot in slots if slot not in named and not slot.is_number]

    def find(self, messages: Messages, rows: Rows) -> tuple[Bools, Ints]:
        """Tell which of `rows`, which have as many quotes, are of this shape; and of these, where all its points are."""
        good = np.empty(len(rows), np.bool_)
        points = []
        for block in blocks(len(rows), len(self._starts)):
            found, where = self._found(messages, rows[block])
            good[block] = False
            good[block][found] = True
            points.append(where)
        return good, np.concatenate(points, axis=1)

    def _found(self, messages: Messages, rows: Rows) -> tuple[Rows, Ints]:
        points = messages.marks(self._marks, rows, self._quotes) + self._offsets
        # Lengths first: they tell most shapes apart, and then nothing is compared beyond the end of a message.
        good = (points[1::2] - points[::2] == self._lengths).all(axis=0)
        for slot in self._numbers:
            starts, stops = self.span(slot, points)
            good &= starts < stops
        found = np.flatnonzero(good)
        read = messages.read(points[:, found][self._starts] + self._behind)
        same = [words & masks == fixed for words, masks, fixed in zip(read, self._masks, self._bytes, strict=True)]
        found = found[(same[0] & same[1]).all(axis=0)]
        for slot in self._numbers:
            numbers = messages.texts(*self.span(slot, points[:, found]))
            found = found[numbers.str.contains(f"^{_NUMBER}$").to_numpy()]
        for slot in self._unnamed_texts if messages.escaped else ():
            found = np.delete(found, _unescaped(messages.texts(*self.span(slot, points[:, found])))[1])
        return found, points[:, found]

    def span(self, slot: Slot, points: Ints) -> tuple[Ints, Ints]:
        """Where a value starts and stops."""
        return points[self._places[slot]], points[self._places[slot] + 1]


def _upright(values: Sequence[Any], kind: type[np.generic]) -> NDArray[Any]:
    """Values one below the other, each for a row of messages."""
    return np.expand_dims(np.array(values, kind), 1)


def _words(pieces: Sequence[bytes]) -> tuple[Words, Words]:
    """Bytes in the form in which `Messages` reads them, each for a row of messages."""
    words = np.frombuffer(b"".join(piece.ljust(WIDTH, b"\0") for piece in pieces), "<u8").reshape(-1, 2, 1)
    return words[:, 0], words[:, 1]


def _unescaped(raw: pl.Series) -> tuple[pl.Series, Rows]:
    """Read texts as they stand in JSON, and tell which cannot be read: lone surrogates, and for us NUL."""
    rows = raw.str.contains("\\", literal=True).arg_true()
    if not len(rows):
        return raw, NO_ROWS
    found = raw.gather(rows)
    distinct = found.unique()
    read = found.replace_strict(distinct, pl.Series([_text(each) for each in distinct], dtype=pl.String))
    return raw.scatter(rows, read), rows.filter(read.is_null()).to_numpy()


def _text(raw: str) -> str | None:
    try:
        text: str = json.loads(f'"{raw}"')
        text.encode()
    except ValueError:
        return None
    return None if "\0" in text else text


# ------------------------------------------------------------------------------------------------------------------ learning

LayOut = Callable[[str, Mapping[str, Any]], Layout | None]
"""Says where the columns are in an object of a `type`, in which each open value is a `Slot`; None: leave it alone."""


def _learned(message: bytes, lay_out: LayOut) -> _Shape | None:
    """Find the shape of a message; None if it is no JSON object with a `type`, or a strange one, or to be left alone."""
    tokens = list(_TOKEN.finditer(message))
    if any(token["number"] and not re.fullmatch(_NUMBER, token["number"].decode()) for token in tokens):
        return None
    quoted = [token.span("text") for token in tokens if token["number"] is None]
    quotes = [0, *(at for start, stop in quoted for at in (start - 1, stop)), len(message)]
    slots: dict[Slot, tuple[int, int]] = {}
    quote = 0
    for token in tokens:
        start, stop = token.span("text" if token["number"] is None else "number")
        if token["number"] is None:
            quote += 2
            if token["key"] is None:
                slots[Slot(_Point(quote - 1, 1), _Point(quote, 0), is_number=False)] = start, stop
        else:
            behind, before = _Point(quote, start - quotes[quote]), _Point(quote + 1, stop - quotes[quote + 1])
            slots[Slot(behind, before, is_number=True)] = start, stop
    told = _told(message, slots)
    kind = told.pop("type", None)
    if not isinstance(kind, Slot) or kind.is_number:
        return None
    start, stop = slots.pop(kind)
    fixed = _between(message, slots, quote + 1)
    if any(b"\\" in each.data for each in fixed):
        return None
    layout = lay_out(message[start:stop].decode(), told)
    return None if layout is None else _Shape(message[start:stop].decode(), quote, layout, list(slots), fixed)


def _told(message: bytes, slots: Mapping[Slot, tuple[int, int]]) -> dict[str, Any]:
    """Read a JSON object with slots in the place of its open values; empty if it is none, or has a key twice."""
    numbered = list(slots)
    template, done = [], 0
    for number, (start, stop) in enumerate(slots.values()):
        template += [message[done:start], b"%d" % number]
        done = stop
    text = b"".join([*template, message[done:]]).decode()
    if text.count("[") + text.count("{") > _BRACKETS_MAX:
        return {}
    try:
        told = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except ValueError:
        return {}
    return _slotted(told, numbered) if isinstance(told, dict) else {}


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(members)
    if len(told) < len(members):
        raise ValueError("a key occurs twice")
    return told


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _slotted(told: Any, slots: Sequence[Slot]) -> Any:
    """Put slots in the place of their numbers, which are all texts and numbers that there are."""
    if isinstance(told, dict):
        return {key: _slotted(value, slots) for key, value in told.items()}
    if isinstance(told, list):
        return [_slotted(value, slots) for value in told]
    return told if told is None or isinstance(told, bool) else slots[int(told)]


def _between(message: bytes, slots: Mapping[Slot, tuple[int, int]], end: int) -> list[_Fixed]:
    starts = [*((slot.start, start) for slot, (start, _) in slots.items()), (_Point(end, 0), len(message))]
    stops = [(_Point(0, 0), 0), *((slot.stop, stop) for slot, (_, stop) in slots.items())]
    return [_Fixed(stop, start, message[at:to]) for (stop, at), (start, to) in zip(stops, starts, strict=True)]


# ------------------------------------------------------------------------------------------------------------------- reading


class _Part(NamedTuple):
    """Messages of one shape, and where its points are."""

    shape: _Shape
    rows: Rows
    points: Ints

    def span(self, slot: Slot) -> tuple[Ints, Ints]:
        """Where a value starts and stops."""
        return self.shape.span(slot, self.points)


class Shapes:
    """The shapes met so far.

    Args:
        lay_out: See `LayOut`.
    """

    def __init__(self, lay_out: LayOut) -> None:
        self._lay_out = lay_out
        self._known: defaultdict[int, list[_Shape]] = defaultdict(list)

    def cut(self, values: pl.Series) -> Cut:
        """Read the messages of known shapes, and of those that can be learned from them.

        Args:
            values: The messages, as texts; at most `BUFFER_BYTES_MAX` bytes and one message more.
        """
        messages = Messages(values)
        found: list[_Part] = []
        lessons = iter(range(max(_LEARNED_MIN, len(values) // _MESSAGES_PER_LEARNED)))
        rows = np.flatnonzero(~messages.spoilt)
        rows = rows[np.argsort(messages.quotes[rows], kind="stable")]
        quotes, begins = np.unique(messages.quotes[rows], return_index=True)
        for count, (begin, end) in zip(quotes.tolist(), pairwise([*begins, len(rows)]), strict=True):
            found += self._sorted_out(messages, rows[begin:end], count, lessons) if count else ()
        return _cut(sorted(found, key=lambda part: part.shape.kind), messages)

    def _sorted_out(self, messages: Messages, rows: Rows, quotes: int, lessons: Iterator[int]) -> list[_Part]:
        """Find the shapes of `rows`, all of which have as many `quotes`, without those that have none."""
        found = []
        known = self._known[quotes]
        waiting = iter(known)
        while len(rows):
            shape = next(waiting, None)
            if shape is None and next(lessons, None) is None:
                break
            shape = shape or _learned(messages.message(int(rows[0])), self._lay_out)
            if shape is None:
                rows = rows[1:]
                continue
            good, points = shape.find(messages, rows)
            if good.any():
                found.append(_Part(shape, rows[good], points))
                rows = rows[~good]
        met = [part.shape for part in sorted(found, key=lambda part: -len(part.rows))]
        self._known[quotes] = [*met, *(shape for shape in known if shape not in met)][:_SHAPES_MAX]
        return found


def _cut(parts: Sequence[_Part], messages: Messages) -> Cut:
    """Bring messages of several shapes into the same columns, without those of which a value cannot be read."""
    sizes = [len(part.rows) for part in parts]
    rows = np.concatenate([np.empty(0, np.int64), *(part.rows for part in parts)])
    kinds = pl.Series([part.shape.kind for part in parts], dtype=pl.String)
    good = np.ones(len(rows), np.bool_)
    columns = {"type": kinds.gather(np.repeat(np.arange(len(parts)), sizes))}
    layouts = [part.shape.layout for part in parts]
    for read, slots in (
        (_texts, [layout.texts for layout in layouts]),
        (_integers, [layout.integers for layout in layouts]),
        (times, [layout.times for layout in layouts]),
    ):
        for name in dict.fromkeys(name for each in slots for name in each):
            given = Runs([name in each for each in slots], sizes)
            columns[name], wrong = read(messages, *_spans(parts, [each.get(name) for each in slots]), given)
            good[wrong] = False
    for name in dict.fromkeys(name for layout in layouts for name in layout.lists):
        columns[name], wrong = _lists(messages, parts, [layout.lists.get(name, []) for layout in layouts])
        good[wrong] = False
    cut = Cut(rows, [column.alias(name) for name, column in columns.items()])
    return cut if good.all() else Cut(rows[good], [column.filter(good) for column in cut.columns])


def _spans(parts: Sequence[_Part], slots: Sequence[Slot | None]) -> tuple[Ints, Ints]:
    """Where a value starts and stops in messages of several shapes, given its slot in those that have it."""
    starts, stops = zip(*(part.span(slot) for part, slot in zip(parts, slots, strict=True) if slot), strict=True)
    return np.concatenate(starts), np.concatenate(stops)


def _texts(messages: Messages, starts: Ints, stops: Ints, given: Runs | None = None) -> tuple[pl.Series, Rows]:
    """The texts at these positions; and which rows cannot be read."""
    raw = messages.texts(starts, stops, given)
    return _unescaped(raw) if messages.escaped else (raw, NO_ROWS)


def _integers(messages: Messages, starts: Ints, stops: Ints, given: Runs) -> tuple[pl.Series, Rows]:
    raw = messages.texts(starts, stops, given)
    read = raw.cast(pl.Int32, strict=False)
    return read, (read.is_null() & raw.is_not_null()).arg_true().to_numpy()


def _lists(messages: Messages, parts: Sequence[_Part], lists: Sequence[Sequence[Slot]]) -> tuple[pl.Series, Rows]:
    """Lists of as many texts as each shape has slots; null where there are none."""
    sizes = np.repeat([len(slots) for slots in lists], [len(part.rows) for part in parts])
    spans = [
        np.array([part.span(slot) for slot in slots])  # slots, starts and stops, messages
        for part, slots in zip(parts, lists, strict=True)
        if slots
    ]
    starts, stops = (np.concatenate([span[:, side].T.ravel() for span in spans]) for side in (0, 1))
    items, wrong = _texts(messages, starts, stops)
    ends = pa.array(np.cumsum(np.append(0, sizes)))
    read = pa.LargeListArray.from_arrays(ends, items.to_arrow(), mask=pa.array(sizes == 0))
    rows = np.repeat(np.arange(len(sizes)), sizes)[wrong] if len(wrong) else NO_ROWS
    return pl.Series(read, dtype=pl.List(pl.String())), rows
