"""What a peer has flagged, held against what it must flag."""

import json
from collections import Counter
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple


class Flag(NamedTuple):
    """One violation; the time is in microseconds since 1970."""

    rule: str
    order_id: str
    carrier: str
    waybill_no: str
    violated_at: int


def micros(at: datetime) -> int:
    """Return the time in microseconds since 1970."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def read_flags(out: Path) -> Counter[Flag]:
    """Read a peer's flags, one JSON object a line, from a file or from all files of a folder.

    A line with a `diff` is one change of a stream of changes: -1 takes back what +1 has said.

    Raises:
        OSError: there is no such file.
        ValueError, KeyError: a line is no flag.
    """
    files = sorted(out.glob("part-*")) if out.is_dir() else [out]
    flags: Counter[Flag] = Counter()
    for file in files:
        for line in file.read_bytes().splitlines():
            said = json.loads(line)
            flags[Flag(*(said[field] for field in Flag._fields))] += said.get("diff", 1)
    return flags


def verdict(found: Counter[Flag], expected: AbstractSet[Flag]) -> str:
    """Say whether the flags are right, else how many are missing, wrong, or there more than once."""
    missing = sum(found[flag] <= 0 for flag in expected)
    extra = sum(count - (flag in expected) for flag, count in found.items() if count > 0)
    return f"wrong: {missing} missing, {extra} too many" if missing or extra else f"all {len(expected)}"
