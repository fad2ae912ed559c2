"""Keys, chains and texts do what dictionaries and lists would."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.arrays import (
    ABSENT,
    NONE,
    Chains,
    Index,
    Keys,
    Memo,
    SparseChains,
    Table,
    Texts,
    column,
    distinct,
    first_of_each,
    pairs,
    taken,
)
from pipeline.packing import NEVER, UNKNOWN, micros, time_column
from schemas.frames import TIME

SMALL = st.integers(0, 12)
OWNERS = st.integers(0, 40)  # more than are followed one by one
WORDS = st.text("ab\x00é快\U0001f4e6\xff", max_size=4)


def series(texts: list[str | None]) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=40), max_size=6), st.sampled_from([1, 2**40, 0]))
def test_an_index_numbers_hashes_in_the_order_they_came(batches: list[list[int]], same_low_bits: int) -> None:
    index, ids = Index(), dict[int, int]()
    for batch in batches:
        hashes = np.unique(np.array([hash_ & ~0xFFF if same_low_bits else hash_ for hash_ in batch], np.uint64))
        found = index.find(hashes)
        assert found.tolist() == [ids.get(hash_, NONE) for hash_ in hashes.tolist()]
        new = hashes[found == NONE]
        ids |= dict(zip(new.tolist(), index.add(new).tolist(), strict=True))
    assert sorted(ids.values()) == list(range(len(index)))
    assert index.find(np.array(list(ids), np.uint64)).tolist() == list(ids.values())


def test_an_index_finds_all_of_many_and_none_of_others() -> None:
    index, random = Index(), np.random.default_rng(1)
    hashes = np.unique(random.integers(0, 2**64, 50_000, np.uint64))
    for part in np.array_split(hashes, 7):
        index.add(part)
    assert (index.find(hashes) == np.arange(len(hashes))).all()
    assert (index.find(hashes ^ np.uint64(1)) == NONE).all()


@given(
    st.lists(st.lists(OWNERS | SMALL, max_size=60), max_size=6), st.lists(OWNERS, unique=True) | st.just([*range(41)])
)
def test_chains_give_the_rows_of_each_owner(batches: list[list[int]], asked: list[int]) -> None:
    chains, sparse, owners = Chains(), SparseChains(), list[int]()
    for batch in batches:
        chains.append(np.array(batch, np.int32), 41)
        sparse.append(np.array(batch, np.int32))
        owners += batch
    expected = {(owner, row) for row, owner in enumerate(owners) if owner in asked}
    for kind in (chains, sparse):
        owner, row = kind.owned(np.array(asked, np.int32))
        assert len(row) == len(expected)
        assert set(zip(owner.tolist(), row.tolist(), strict=True)) == expected
        assert sorted(kind.rows(np.array(asked, np.int32)).tolist()) == sorted(row for _, row in expected)
    assert chains.owners().tolist() == owners


@given(st.lists(st.lists(WORDS | st.none(), max_size=9), max_size=4), st.data())
def test_texts_come_back_as_they_were_added(batches: list[list[str | None]], data: st.DataObject) -> None:
    texts, expected = Texts(), list[str | None]()
    for batch in batches:
        texts.append(series([None, *batch])[1:])  # a part of a longer array
        expected += batch
    ids = data.draw(st.lists(st.integers(-2, len(expected) - 1), max_size=9))
    assert texts.gather(np.array(ids, np.int32)).to_list() == [expected[at] if at >= 0 else None for at in ids]
    keep = data.draw(st.lists(st.booleans(), min_size=len(expected), max_size=len(expected)))
    kept = texts.kept(np.array(keep, np.bool_))
    left = [text for text, stays in zip(expected, keep, strict=True) if stays]
    assert kept.gather(np.arange(len(left), dtype=np.int32)).to_list() == left


def test_more_than_four_gigabytes_of_text_have_their_ends() -> None:
    texts = Texts()
    texts._bytes.fill({"byte": np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (2**32 - 2,), (0,))})
    texts._ends.append({"end": 2**32 - 2}, 1)
    grown = []
    texts._bytes.append = lambda rows, count: grown.append(rows["byte"].tobytes())  # type: ignore[method-assign,assign,return-value]
    texts.append(series(["abc", "de"]))
    assert texts._ends["end"].tolist() == [2**32 - 2, 2**32 + 1, 2**32 + 3]
    assert grown == [b"abcde"]


KEYS = st.tuples(st.sampled_from("ab"), st.sampled_from("xyz") | st.none())


@given(st.lists(st.lists(KEYS, max_size=9), max_size=4), st.data())
def test_keys_have_the_number_of_the_first_time(
    batches: list[list[tuple[str, str | None]]], data: st.DataObject
) -> None:
    keys, known = Keys("one", "other"), dict[tuple[str, str | None], int]()

    def frame(rows: list[tuple[str, str | None]]) -> pl.DataFrame:
        return pl.DataFrame(rows, schema=keys.schema, orient="row")

    for batch in batches:
        for key, number in zip(batch, keys.add(frame(batch)).tolist(), strict=True):
            assert known.setdefault(key, number) == number
    every = [(one, other) for one in "ab" for other in ("x", "y", "z", None)]
    assert keys.find(frame(every)).tolist() == [known.get(key, NONE) for key in every]
    by_number = sorted(known, key=known.__getitem__)
    assert keys.names(np.array([*range(len(known)), -1], np.int32)).rows() == [*by_number, (None, None)]

    keep = data.draw(st.lists(st.booleans(), min_size=len(known), max_size=len(known)))
    kept = keys.kept(np.array(keep, np.bool_))
    stays = [key for key, here in zip(by_number, keep, strict=True) if here]
    gone = [key for key in by_number if key not in stays]
    assert kept.find(frame(stays)).tolist() == list(range(len(stays)))
    assert kept.find(frame(gone)).tolist() == [ABSENT] * len(gone)
    assert kept.names(np.arange(len(stays), dtype=np.int32)).rows() == stays
    back = data.draw(st.lists(st.sampled_from(gone), unique=True)) if gone else []
    kept.add(frame(back))
    assert (kept.find(frame(back)) >= 0).all()
    again = kept.kept(np.zeros(len(kept), np.bool_))
    again.drop(frame(gone))
    assert again.find(frame(by_number)).tolist() == [NONE if key in gone else ABSENT for key in by_number]


def test_a_table_can_be_taken_out_and_put_back() -> None:
    table, other = Table({"a": np.int32, "b": np.uint8}), Table({"a": np.int32, "b": np.uint8})
    for start in range(0, 5000, 1000):
        rows = table.append({"a": np.arange(start, start + 1000), "b": 7}, 1000)
        assert rows.tolist() == list(range(start, start + 1000))
    other.fill({name: table[name].copy() for name in table.names})
    other.append({"a": [5], "b": 1}, 1)
    assert len(other) == 5001
    assert other.frame(np.array([4999, 5000], np.int32)).rows() == [(4999, 7), (5, 1)]


def test_a_narrow_column_becomes_wider_when_it_has_to_hold_more() -> None:
    table = Table({"small": np.int16, "other": np.int16})
    table.append({"small": [-1, 2**15 - 1], "other": NONE}, 2)
    assert table["small"].dtype == np.int16
    table.append({"small": [2**15], "other": [5]}, 1)
    assert table["small"].tolist() == [-1, 2**15 - 1, 2**15]
    assert table["other"].dtype == np.int16
    assert table.frame(np.array([0, 2], np.int32)).schema == {"small": pl.Int32(), "other": pl.Int32()}
    assert table.frame(np.array([0, 2], np.int32)).rows() == [(-1, -1), (2**15, 5)]


@given(st.lists(st.lists(st.integers(0, 9), max_size=9), max_size=9))
def test_a_memo_asks_once_until_it_forgets(batches: list[list[int]]) -> None:
    memo, asked = Memo(5), list[int]()
    for batch in batches:
        hashes, before = np.array(batch, np.uint64), len(asked)

        def answer(first: np.ndarray, hashes: np.ndarray = hashes) -> np.ndarray:
            asked.extend(hashes[first].tolist())
            return hashes[first].astype(np.int32) * 7

        assert memo.of(hashes, answer).tolist() == [7 * one for one in batch]
        assert len(set(asked[before:])) == len(asked) - before
    if len({one for batch in batches for one in batch}) <= 5:
        assert len(asked) == len(set(asked))


@given(st.lists(SMALL), st.lists(SMALL))
def test_pairs_are_all_that_are_equal(one: list[int], other: list[int]) -> None:
    left, right = pairs(np.array(one, np.int32), np.array(other, np.int32))
    expected = {(i, j) for i, value in enumerate(one) for j, other_value in enumerate(other) if value == other_value}
    assert len(left) == len(expected)
    assert set(zip(left.tolist(), right.tolist(), strict=True)) == expected


@given(st.lists(SMALL))
def test_distinct_values_are_in_order_and_the_first_of_each_where_it_came(values: list[int]) -> None:
    array = np.array(values, np.int32)
    assert distinct(array).tolist() == sorted(set(values))
    assert array[first_of_each(array)].tolist() == list(dict.fromkeys(values))


def test_what_is_not_given_is_null_in_a_column() -> None:
    numbers = np.array([7, NONE, 5, 6], np.int32)[::2]
    assert column("n", numbers, numbers != 5).to_list() == [7, None]
    assert column("n", numbers).to_list() == [7, 5]
    assert taken(numbers, np.array([1, NONE], np.int32), 9).tolist() == [5, 9]


@given(st.lists(st.sampled_from([UNKNOWN, NEVER]) | st.integers(0, 2**50)))
def test_times_are_numbers_and_back(times: list[int]) -> None:
    shown = time_column("at", np.array(times, np.int64))
    assert shown.dtype == TIME
    assert micros(shown).tolist() == [UNKNOWN if time == NEVER else time for time in times]
