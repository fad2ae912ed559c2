"""Columns that grow, keys as dense numbers, and rows chained by owner: what the facts in memory are made of.

Everything works on whole batches; no call loops over rows in Python, but for few long chains. All that is held lies in
`Table`s, which `tables` names, so that memory can be written to a file as it is, and read back.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import xor
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Ints = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_Number = TypeVar("_Number", bound=np.generic)

NONE: Final = -1
"""No row, no id."""
ABSENT: Final = -2
"""The id of a key whose facts have left memory: known, but only the database has them."""

_SLOTS_MIN: Final = 1024
_INT16_MAX: Final = np.iinfo(np.int16).max
_INT32: Final = (1 << 32) - 1
_NULL: Final = 0xFF
"""A byte that no text has: alone it stands for null."""


def hash_of(columns: Mapping[int, pl.Expr]) -> pl.Expr:
    """Return a hash of several columns, of each by its own seed. A struct of them would be copied before it is hashed."""
    return reduce(xor, (column.hash(seed=seed) for seed, column in columns.items()))


def begins(values: npt.NDArray[Any]) -> Bools:
    """Return which of sorted `values` differ from the one before."""
    new = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return new


def first_of_each(values: npt.NDArray[Any]) -> Bools:
    """Return which of `values` are the first of those that are equal."""
    first: Bools = pl.Series(values).is_first_distinct().to_numpy()
    return first


def distinct(values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    """Return the distinct `values`, in order. `np.unique` does the same by hashing, and takes several times as long."""
    values = np.sort(values)
    return values[begins(values)]


def taken(column: npt.NDArray[_Number], rows: Ints, default: int) -> npt.NDArray[_Number]:
    """Return the values of `column` in `rows`, `default` for `NONE`."""
    values = np.full(len(rows), default, column.dtype)
    known = rows >= 0
    values[known] = column[rows[known]]
    return values


def pairs(one: Ints, other: Ints) -> tuple[Ints, Ints]:
    """Return the positions of all pairs of equal values in `one` and `other`."""
    by = np.argsort(other, kind="stable").astype(np.int32)
    first, end = (np.searchsorted(other[by], one, side) for side in ("left", "right"))
    count = end - first
    at = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(count.sum())
    return np.repeat(np.arange(len(one), dtype=np.int32), count), by[at]


def rows_of(frame: pl.DataFrame, rows: Ints) -> pl.DataFrame:
    """Return some rows of a frame. Indices of this type are taken as they are, others are looked at first."""
    return frame[pl.Series(rows.astype(np.uint32))]


def column(
    name: str, values: npt.NDArray[Any], given: Bools | None = None, kind: pa.DataType | None = None
) -> pl.Series:
    """Return numbers as a column, null where they are not `given`; `kind` is Arrow's name of what they are."""
    if given is None and kind is None:
        return pl.Series(name, values)
    valid = None if given is None else pa.py_buffer(np.packbits(given, bitorder="little"))
    buffers = [valid, pa.py_buffer(np.ascontiguousarray(values))]
    return pl.Series(name, pa.Array.from_buffers(kind or pa.from_numpy_dtype(values.dtype), len(values), buffers))


class Table:
    """Rows in columns that grow; rows are only ever added, or filtered all at once.

    A column of int16 becomes one of int32 when it has to hold more, and frames show it as that from the beginning.
    """

    def __init__(self, columns: Mapping[str, npt.DTypeLike]) -> None:
        self._columns: dict[str, npt.NDArray[Any]] = {name: np.empty(0, kind) for name, kind in columns.items()}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Return the column `name`, a view that writes through."""
        return self._columns[name][: self._length]

    def append(self, rows: Mapping[str, npt.ArrayLike], count: int) -> Ints:
        """Add `count` rows, each column an array or one value for all, and return their positions."""
        start, end = self._length, self._length + count
        for name, column in self._columns.items():
            if column.dtype == np.int16 and np.max(rows[name], initial=0) > _INT16_MAX:
                column = column.astype(np.int32)  # noqa: PLW2901  the same, wider
                self._columns[name] = column
            if end > len(column):
                grown = np.empty(max(end, len(column) * 3 // 2, 1024), column.dtype)
                grown[:start] = column[:start]
                self._columns[name] = grown
            self._columns[name][start:end] = rows[name]
        self._length = end
        return np.arange(start, end, dtype=np.int32)

    def widen(self, name: str, kind: npt.DTypeLike) -> None:
        """Give the column `name` another type, which can hold all its values."""
        self._columns[name] = self._columns[name].astype(kind)

    def fill(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take `columns`, all of one length, for what is held."""
        self._columns = {name: columns[name] for name in self._columns}
        self._length = len(next(iter(self._columns.values())))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._columns)

    def frame(self, rows: Ints, *names: str) -> pl.DataFrame:
        """Return `rows` of the columns `names` (all, if none is given), in that order."""
        columns = {name: self[name][rows] for name in names or self._columns}
        return pl.DataFrame({name: _shown(column) for name, column in columns.items()})


def _shown(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return column.astype(np.int32) if column.dtype == np.int16 else column


Tables = dict[str, Table]


def prefixed(name: str, tables: Tables) -> Tables:
    """Return `tables` under longer names."""
    return {f"{name}.{inner}": table for inner, table in tables.items()}


class Index:
    """Dense ids for 64-bit hashes: an open-addressing table of ids, probed for whole arrays at once."""

    def __init__(self) -> None:
        self._hashes = Table({"hash": np.uint64})
        self._slots = Table({"id": np.int32})
        self._slots.append({"id": NONE}, _SLOTS_MIN)

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def hashes(self) -> Hashes:
        """The hashes by id."""
        return self._hashes["hash"]

    def find(self, hashes: Hashes) -> Ints:
        """Return the id of each hash, or `NONE`."""
        found = np.full(len(hashes), NONE, np.int32)
        if not len(self):
            return found
        slots, known = self._slots["id"], self.hashes
        todo, slot = np.arange(len(hashes)), self._first_slot(hashes)
        step = 0
        while todo.size:
            ids = slots[slot]
            same = (
                known[ids] == hashes
            )  # Not at a free slot, whose `NONE` is the last hash: that would have been met before.
            found[todo[same]] = ids[same]
            on = np.flatnonzero((ids != NONE) & ~same)
            step += 1
            todo, hashes, slot = todo[on], hashes[on], (slot[on] + step) & (len(slots) - 1)
        return found

    def add(self, hashes: Hashes) -> Ints:
        """Give ids to `hashes`, which are distinct and have none yet, and return them."""
        ids = self._hashes.append({"hash": hashes}, len(hashes))
        slots = len(self._slots)
        while len(self) * 3 > slots * 2:
            slots *= 2
        if slots > len(self._slots):
            self._slots = Table({"id": np.int32})
            self._slots.append({"id": NONE}, slots)
            self._put(np.arange(len(self), dtype=np.int32))
        else:
            self._put(ids)
        return ids

    def tables(self) -> Tables:
        """Return all that is held."""
        return {"hashes": self._hashes, "slots": self._slots}

    def _put(self, ids: Ints) -> None:
        slots = self._slots["id"]
        slot = self._first_slot(self.hashes[ids])
        step = 0
        while ids.size:
            free = slots[slot] == NONE
            # Several may claim one slot: the last to write has it, the others see that and go on.
            slots[slot[free]] = ids[free]
            lost = slots[slot] != ids
            step += 1
            ids, slot = ids[lost], (slot[lost] + step) & (len(slots) - 1)

    def _first_slot(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        return (hashes & np.uint64(len(self._slots) - 1)).astype(np.int64)


class Memo:
    """Answers by the hash of the question; when they become more than so many, all are forgotten."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._index, self._answers = Index(), Table({"answer": np.int32})

    def __len__(self) -> int:
        return len(self._index)

    def of(self, hashes: Hashes, answer: Callable[[Ints], Ints]) -> Ints:
        """Return the answer to each question; `answer` gives those of the questions at some positions, asked for the first time."""
        ids = self._index.find(hashes)
        if (unseen := np.flatnonzero(ids == NONE)).size:
            if len(self._index) > self._count_max:
                self._index, self._answers = Index(), Table({"answer": np.int32})
                return self.of(hashes, answer)
            first = unseen[first_of_each(hashes[unseen])].astype(np.int32)
            self._answers.append({"answer": answer(first)}, len(first))
            self._index.add(hashes[first])
            ids[unseen] = self._index.find(hashes[unseen])
        answers: Ints = self._answers["answer"][ids]
        return answers

    def tables(self) -> Tables:
        """Return all that is held."""
        return prefixed("index", self._index.tables()) | {"answers": self._answers}


_CHAINS_FEW: Final = 16
"""So few are followed link by link: a step of all at once costs as much, and what thousands of orders share has as many links."""


def _linked(links: memoryview, row: int) -> Iterator[int]:
    while row >= 0:
        yield row
        row = links[row]


class Chains:
    """The rows of each owner, as linked lists through a table: `head[owner]`, then `previous[row]`."""

    def __init__(self) -> None:
        self._head = Table({"row": np.int32})
        self._rows = Table({"previous": np.int32})

    def append(self, owners: Ints, owners_count: int) -> None:
        """Chain the rows just added to the table, which `owners` own; `owners_count` owners exist by now."""
        if (missing := owners_count - len(self._head)) > 0:
            self._head.append({"row": NONE}, missing)
        rows = self._rows.append({"previous": NONE}, len(owners))
        if not len(rows):
            return
        # By owner, then as they came: two numbers in one are sorted three times as fast as positions are.
        order = np.sort(owners.astype(np.int64) << 32 | np.arange(len(owners))) & _INT32
        owner, row = owners[order], rows[order]
        first = begins(owner)
        head = self._head["row"]
        self._rows["previous"][row] = np.where(first, head[owner], np.roll(row, 1))
        last = np.roll(first, -1)
        head[owner[last]] = row[last]

    def owned(self, owners: Ints) -> tuple[Ints, Ints]:
        """Return all rows of `owners` (distinct; those that own nothing are fine), in no particular order, after their owners."""
        head, previous = self._head["row"], self._rows["previous"]
        owner = owners[owners < len(head)]
        row = head[owner]
        found = [(owner[:0], row[:0])]
        while row.size > _CHAINS_FEW:
            some = row >= 0
            owner, row = owner[some], row[some]
            found.append((owner, row))
            row = previous[row]
        links = previous.data
        for one, last in zip(owner.tolist(), row.tolist(), strict=True):
            linked = np.fromiter(_linked(links, last), np.int32)
            found.append((np.full(len(linked), one, np.int32), linked))
        return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])

    def rows(self, owners: Ints) -> Ints:
        """Return all rows of `owners` (distinct; those that own nothing are fine), in no particular order."""
        return self.owned(owners)[1]

    def owners(self) -> Ints:
        """Return the owner of each row."""
        owner, row = self.owned(np.arange(len(self._head), dtype=np.int32))
        owners = np.empty(len(self._rows), np.int32)
        owners[row] = owner
        return owners

    def tables(self) -> Tables:
        """Return all that is held."""
        return {"head": self._head, "rows": self._rows}


class SparseChains:
    """As `Chains`, where few of many owners own anything."""

    def __init__(self) -> None:
        self._owners = Index()
        self._chains = Chains()

    def append(self, owners: Ints) -> None:
        """Chain the rows just added to the table, which `owners` own."""
        keys = owners.astype(np.uint64)
        new = distinct(keys[self._owners.find(keys) == NONE])
        self._owners.add(new)
        self._chains.append(self._owners.find(keys), len(self._owners))

    def owned(self, owners: Ints) -> tuple[Ints, Ints]:
        """Return all rows of `owners` (distinct; those that own nothing are fine), in no particular order, after their owners."""
        found, rows = self._chains.owned(self._found(owners))
        owner: Ints = self._owners.hashes[found].astype(np.int32)
        return owner, rows

    def rows(self, owners: Ints) -> Ints:
        """Return all rows of `owners` (distinct; those that own nothing are fine), in no particular order."""
        return self._chains.rows(self._found(owners))

    def own_any(self, owners: Ints) -> Bools:
        """Return which of `owners` own any row."""
        found: Bools = self._owners.find(owners.astype(np.uint64)) != NONE
        return found

    def _found(self, owners: Ints) -> Ints:
        found = self._owners.find(owners.astype(np.uint64))
        own: Ints = found[found != NONE]
        return own

    def tables(self) -> Tables:
        """Return all that is held."""
        return prefixed("owners", self._owners.tables()) | prefixed("chains", self._chains.tables())


class Texts:
    """Many short texts, or nulls, packed one after the other."""

    def __init__(self) -> None:
        self._ends = Table({"end": np.uint32})
        self._bytes = Table({"byte": np.uint8})

    def __len__(self) -> int:
        return len(self._ends)

    def append(self, texts: pl.Series) -> None:
        """Add `texts` (String)."""
        array = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
        lengths = texts.str.len_bytes().fill_null(1).to_numpy().astype(np.int64)
        _, offsets, data = array.buffers()
        start, end = np.frombuffer(offsets, np.int64)[array.offset :][[0, len(array)]]
        content = np.frombuffer(data, np.uint8)[start:end] if data is not None else np.empty(0, np.uint8)
        if texts.null_count():
            # Nulls are empty there.
            at = (np.cumsum(lengths) - lengths)[texts.is_null().to_numpy()]
            content = np.insert(content, at - np.arange(len(at)), _NULL)
        self._add(content, lengths)

    def gather(self, ids: Ints) -> pl.Series:
        """Return the texts at `ids`; null where an id is below 0."""
        known = ids >= 0
        at = ids[known].astype(np.int64)
        lengths, starts = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
        if len(at):
            ends = self._ends["end"]
            starts[known] = np.where(at > 0, ends[at - 1], 0)
            lengths[known] = ends[at] - starts[known]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        data = self._bytes["byte"][np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])]
        if len(at):
            null = known & (lengths == 1)
            null[null] = data[offsets[:-1][null]] == _NULL
            known &= ~null
        valid = pa.py_buffer(np.packbits(known, bitorder="little"))
        array = pa.LargeStringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(data), valid)
        return pl.Series(array, dtype=pl.String)

    def kept(self, keep: Bools) -> "Texts":
        """Return the texts of which `keep` (by id) holds."""
        kept = Texts()
        ends = self._ends["end"].astype(np.int64)
        lengths = ends - np.append(0, ends)[:-1]
        kept._add(self._bytes["byte"][np.repeat(keep, lengths)], lengths[keep])
        return kept

    def _add(self, content: npt.NDArray[np.uint8], lengths: npt.NDArray[np.int64]) -> None:
        ends = len(self._bytes) + np.cumsum(lengths)
        if len(ends) and ends[-1] > np.iinfo(np.uint32).max:
            self._ends.widen("end", np.int64)
        self._bytes.append({"byte": content}, len(content))
        self._ends.append({"end": ends}, len(ends))

    def tables(self) -> Tables:
        """Return all that is held."""
        return {"ends": self._ends, "bytes": self._bytes}


class Keys:
    """Dense ids for keys of one or more string columns, and back.

    Two keys are taken for one when their 64-bit hashes agree: one chance in 10^5 among 20 million keys.
    """

    def __init__(self, *columns: str) -> None:
        self.schema = pl.Schema(dict.fromkeys(columns, pl.String()))
        self._index = Index()
        self._texts = {name: Texts() for name in columns}
        self._absent = Table({"hash": np.uint64})
        """Sorted."""

    def __len__(self) -> int:
        return len(self._index)

    def any_absent(self) -> bool:
        """Return whether any key is `ABSENT`."""
        return len(self._absent) > 0

    def find(self, keys: pl.DataFrame) -> Ints:
        """Return the id of each row of `keys`: an id, `ABSENT` or `NONE`."""
        hashes = self._hash(keys)
        ids = self._index.find(hashes)
        if len(absent := self._absent["hash"]):
            at = np.minimum(np.searchsorted(absent, hashes), len(absent) - 1)
            ids[(ids == NONE) & (absent[at] == hashes)] = ABSENT
        return ids

    def add(self, keys: pl.DataFrame) -> Ints:
        """Return the id of each row of `keys`, giving new ids to those that have none here."""
        hashes = self._hash(keys)
        ids = self._index.find(hashes)
        unknown = np.flatnonzero(ids == NONE)
        if unknown.size:
            first = unknown[first_of_each(hashes[unknown])]
            self._index.add(hashes[first])
            ids[unknown] = self._index.find(hashes[unknown])
            for name, texts in self._texts.items():
                texts.append(keys[name][first])
        return ids

    def names(self, ids: Ints) -> pl.DataFrame:
        """Return the keys of `ids`, in that order; an id below 0 gives nulls."""
        return pl.DataFrame({name: texts.gather(ids) for name, texts in self._texts.items()}, schema=self.schema)

    def kept(self, keep: Bools, *, absent: bool = True) -> "Keys":
        """Return the keys of which `keep` (by id) holds, renumbered in order; the others become `ABSENT`, if that is wanted."""
        kept = Keys(*self.schema)
        kept._index.add(self._index.hashes[keep])
        for name, texts in self._texts.items():
            kept._texts[name] = texts.kept(keep)
        if absent:
            away = np.union1d(self._absent["hash"], self._index.hashes[~keep])
            kept._absent.append({"hash": away}, len(away))
        return kept

    def drop(self, keys: pl.DataFrame) -> None:
        """Know nothing any more of `keys` that are `ABSENT`."""
        left = np.setdiff1d(self._absent["hash"], self._hash(keys), assume_unique=False)
        self._absent = Table({"hash": np.uint64})
        self._absent.append({"hash": left}, len(left))

    def tables(self) -> Tables:
        """Return all that is held."""
        texts = [prefixed(name, texts.tables()) for name, texts in self._texts.items()]
        tables = prefixed("index", self._index.tables()) | {"absent": self._absent}
        for more in texts:
            tables |= more
        return tables

    def _hash(self, keys: pl.DataFrame) -> Hashes:
        columns = dict(enumerate(map(pl.col, self.schema), 1))
        return keys.select(hash_of(columns)).to_series().to_numpy()
