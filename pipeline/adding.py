"""What commits add to tables, for prepared statements to read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import polars as pl

from schemas.frames import FACTS, FLAG_LOG

OFFSETS: Final = pl.Schema({"source": pl.String(), "position": pl.Int64(), "checksum": pl.Int64()})
ADDED: Final = {**FACTS, "flag_log": pl.Schema({"seq": pl.Int64(), **FLAG_LOG}), "offsets": OFFSETS}
"""What is added to tables by commits, batch for batch."""


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
