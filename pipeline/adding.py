"""What a commit adds, and how prepared statements read it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from schemas.frames import FACTS, FLAG_LOG

OFFSETS: Final = pl.Schema({"source": pl.String(), "position": pl.Int64(), "checksum": pl.Int64()})
ADDED: Final = {**FACTS, "flag_log": pl.Schema({"seq": pl.Int64(), **FLAG_LOG}), "offsets": OFFSETS}
"""What is added to tables by commits, batch for batch."""


class Offset(NamedTuple):
    """How far a source has been read."""

    position: int
    """The next position to read."""
    checksum: int | None
    """What tells another log of the same name: of files the CRC-32C of all bytes before it, of topics that of the topic's id."""


class Commit(NamedTuple):
    """What one batch adds. All of it becomes durable, or nothing."""

    facts: Mapping[str, pl.DataFrame]
    """New facts by table, as `FACTS`; tables may be missing."""
    flags: pl.DataFrame
    """Changes of flags, as `FLAG_LOG`, in order."""
    letters: pl.DataFrame
    """As `LETTERS`. A letter known already (same source, position and bytes) is not written again, but takes the new error."""
    offsets: Mapping[str, Offset]
    """Of the sources read; others keep theirs."""
    clock: datetime | None
    """How far the clock has come; None: unchanged."""
    redriven: Sequence[int] = ()
    """The ids of letters that were fed in again and are dead no more."""


class Added:
    """Rows for prepared statements to read: these are planned once, for a name that stands for another frame each time."""

    def __init__(self, schema: pl.Schema) -> None:
        self._rows = self._none = schema.to_frame()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the rows to DuckDB."""
        return self._rows.__arrow_c_stream__(requested_schema)

    @contextmanager
    def being(self, rows: pl.DataFrame) -> Iterator[None]:
        """Stand for `rows`."""
        rows = rows[self._none.columns]
        if rows.dtypes != self._none.dtypes:  # than were planned for: DuckDB would read what is not there
            rows = rows.cast(self._none.schema)
        self._rows = rows
        try:
            yield
        finally:
            self._rows = self._none
