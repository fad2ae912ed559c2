"""Columns that grow, keys as dense numbers, and rows chained by owner: what the facts in memory are made of.

Everything works on whole batches; no call loops over rows in Python.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

NONE: Final = -1
"""No row, no id."""
ABSENT: Final = -2
"""The id of a key whose facts have left memory: known, but only the database has them."""

_FREE: Final = -3
_LINKS_WALKED_MAX: Final = 64
"""Beyond this many steps along chains, one scan over the owner column is cheaper (a number that thousands share)."""


class Table:
    """Rows in columns that grow by doubling; rows are only ever added, or filtered all at once."""

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
            if end > len(column):
                grown = np.empty(max(end, len(column) * 3 // 2, 1024), column.dtype)
                grown[:start] = column[:start]
                self._columns[name] = grown
            self._columns[name][start:end] = rows[name]
        self._length = end
        return np.arange(start, end, dtype=np.int32)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._columns)

    def frame(self, rows: Ints, *names: str) -> pl.DataFrame:
        """Return `rows` of the columns `names` (all, if none is given), in that order."""
        return pl.DataFrame({name: self[name][rows] for name in names or self._columns})

    def size_bytes(self) -> int:
        """Return the memory held, bytes."""
        return sum(column.nbytes for column in self._columns.values())


class Chains:
    """The rows of each owner, as linked lists through the table: `head[owner]`, then `previous[row]`."""

    def __init__(self) -> None:
        self._head = Table({"row": np.int32})
        self._rows = Table({"previous": np.int32, "owner": np.int32})

    def append(self, owners: Ints, owners_count: int) -> None:
        """Chain the rows just added to the table, which `owners` own; `owners_count` owners exist by now."""
        if (missing := owners_count - len(self._head)) > 0:
            self._head.append({"row": NONE}, missing)
        rows = self._rows.append({"previous": NONE, "owner": owners}, len(owners))
        if not len(rows):
            return
        order = np.argsort(owners, kind="stable")
        owner, row = owners[order], rows[order]
        first = np.r_[True, owner[1:] != owner[:-1]]
        head = self._head["row"]
        self._rows["previous"][row] = np.where(first, head[owner], np.r_[NONE, row[:-1]])
        last = np.r_[first[1:], True]
        head[owner[last]] = row[last]

    def rows(self, owners: Ints) -> Ints:
        """Return all rows of `owners` (distinct; those that own nothing are fine), in no particular order."""
        head, previous = self._head["row"], self._rows["previous"]
        at = head[owners[owners < len(head)]]
        found = []
        for _ in range(_LINKS_WALKED_MAX):
            at = at[at >= 0]
            if not at.size:
                break
            found.append(at)
            at = previous[at]
        else:
            at = at[at >= 0]
            if at.size:
                long = np.unique(self._rows["owner"][at])
                collected = np.concatenate(found)
                found = [collected[~np.isin(self._rows["owner"][collected], long)]]
                found.append(np.flatnonzero(np.isin(self._rows["owner"], long)).astype(np.int32))
        return np.concatenate(found) if found else np.empty(0, np.int32)

    def size_bytes(self) -> int:
        """Return the memory held, bytes."""
        return self._head.size_bytes() + self._rows.size_bytes()


class Slots:
    """An open-addressing hash table from 64-bit hashes to 32-bit values, probed for whole arrays at once."""

    def __init__(self, capacity: int = 1024) -> None:
        self._hashes = np.zeros(capacity, np.uint64)
        self._values = np.full(capacity, _FREE, np.int32)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def get(self, hashes: Hashes) -> Ints:
        """Return the value of each hash, or `NONE`."""
        values = np.full(len(hashes), NONE, np.int32)
        todo = np.arange(len(hashes))
        slot = self._first_slot(hashes)
        while todo.size:
            value, same = self._values[slot], self._hashes[slot] == hashes[todo]
            hit = (value != _FREE) & same
            values[todo[hit]] = value[hit]
            on = (value != _FREE) & ~same
            todo, slot = todo[on], self._next_slot(slot[on])
        return values

    def put(self, hashes: Hashes, values: Ints) -> None:
        """Set the values of distinct `hashes`."""
        while (self._used + len(hashes)) * 2 > len(self._hashes):
            self._grow()
        todo = np.arange(len(hashes))
        slot = self._first_slot(hashes)
        while todo.size:
            free = self._values[slot] == _FREE
            # Several keys may claim one slot: the last to write has it, the others see that and go on.
            self._hashes[slot[free]] = hashes[todo[free]]
            self._values[slot[free]] = values[todo[free]]
            own = self._hashes[slot] == hashes[todo]
            self._values[slot[own]] = values[todo[own]]
            self._used += int(np.count_nonzero(own & free))
            todo, slot = todo[~own], self._next_slot(slot[~own])

    def items(self) -> tuple[Hashes, Ints]:
        """Return all hashes and their values."""
        full = self._values != _FREE
        return self._hashes[full], self._values[full]

    def size_bytes(self) -> int:
        """Return the memory held, bytes."""
        return self._hashes.nbytes + self._values.nbytes

    def _grow(self) -> None:
        hashes, values = self.items()
        self.__init__(len(self._hashes) * 2)  # type: ignore[misc]  # a fresh, larger table
        self.put(hashes, values)

    def _first_slot(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        return (hashes & np.uint64(len(self._hashes) - 1)).astype(np.int64)

    def _next_slot(self, slot: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return (slot + 1) & (len(self._hashes) - 1)


class Keys:
    """Dense ids for keys of one or more string columns, and back.

    Two keys are taken for one when their 64-bit hashes agree: one chance in 10^5 among 20 million keys.
    """

    def __init__(self, *columns: str) -> None:
        self.schema = pl.Schema(dict.fromkeys(columns, pl.String()))
        self._slots = Slots()
        self._names = self.schema.to_frame()
        self._hashes = Table({"hash": np.uint64})

    def __len__(self) -> int:
        return len(self._hashes)

    def find(self, keys: pl.DataFrame) -> Ints:
        """Return the id of each row of `keys`: an id, `ABSENT` or `NONE`."""
        return self._slots.get(self._hash(keys))

    def add(self, keys: pl.DataFrame) -> Ints:
        """Return the id of each row of `keys`, giving new ids to those that have none here."""
        hashes = self._hash(keys)
        ids = self._slots.get(hashes)
        if (ids < 0).any():
            new, first = np.unique(hashes[ids < 0], return_index=True)
            new_ids = self._hashes.append({"hash": new}, len(new))
            self._slots.put(new, new_ids)
            self._names = self._names.vstack(
                keys.select(pl.col(self.schema.names()).gather(np.flatnonzero(ids < 0)[first]))
            )
            if self._names.n_chunks() > 32:  # noqa: PLR2004  gathering from many chunks is slow
                self._names = self._names.rechunk()
            ids = self._slots.get(hashes)
        return ids

    def names(self, ids: Ints) -> pl.DataFrame:
        """Return the keys of `ids`, in that order; an id below 0 gives nulls."""
        if not len(self._names):
            return self.schema.to_frame().clear(len(ids))
        at = pl.Series(ids).cast(pl.Int64).replace(NONE, None)
        return self._names.select(pl.all().gather(at))

    def forget(self, keys: pl.DataFrame) -> None:
        """Note keys that only the database has, without giving them ids."""
        hashes = np.unique(self._hash(keys))
        unknown = hashes[self._slots.get(hashes) == NONE]
        self._slots.put(unknown, np.full(len(unknown), ABSENT, np.int32))

    def drop(self, keys: pl.DataFrame) -> None:
        """Know no more of those of `keys` that are `ABSENT`."""
        hashes, values = self._slots.items()
        stay = (values != ABSENT) | ~np.isin(hashes, self._hash(keys))
        self._slots = Slots()
        self._slots.put(hashes[stay], values[stay])

    def kept(self, keep: Bools) -> "Keys":
        """Return the keys of which `keep` (by id) holds, renumbered in order; the others become `ABSENT`."""
        kept = Keys(*self.schema)
        hashes, _ = self._slots.items()
        kept._slots.put(hashes, np.full(len(hashes), ABSENT, np.int32))
        rows = np.flatnonzero(keep)
        ids = kept._hashes.append({"hash": self._hashes["hash"][rows]}, len(rows))
        kept._slots.put(self._hashes["hash"][rows], ids)
        kept._names = self._names.select(pl.all().gather(rows)).rechunk()
        return kept

    def size_bytes(self) -> int:
        """Return the memory held, bytes."""
        return self._slots.size_bytes() + self._hashes.size_bytes() + int(self._names.estimated_size())

    def _hash(self, keys: pl.DataFrame) -> Hashes:
        columns = [pl.col(name) for name in self.schema]
        key = columns[0] if len(columns) == 1 else pl.struct(columns)
        return keys.select(key.hash(seed=1).alias("hash"))["hash"].to_numpy()
