"""Which format each source has: what the settings and the command line declare, and how its messages are read."""

from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Self

import polars as pl

from schemas.carriers import AUTO, CANONICAL, Reading, TableError, Tables, convert, load_tables
from schemas.events import RejectedError
from schemas.settings import Settings, SettingsError

_GUESSED: Final = "guessed"
_MAYBE_OURS: Final = frozenset({CANONICAL, AUTO, _GUESSED})


class Formats:
    """What sources are declared as.

    Args:
        declared: Formats by topic, or by glob of file paths or names; the first that fits counts.
        files: The format of all files, whatever is declared.
        tables: What carriers' codes and phrases mean; none: the shipped ones.
        guess: Whether payloads of files that nothing declares are recognised by their shape. For dead letters, since what the
            command line has declared is not kept with them.
    """

    def __init__(
        self,
        declared: Mapping[str, str],
        *,
        files: str | None = None,
        tables: Tables | None = None,
        guess: bool = False,
    ) -> None:
        self._declared = dict(declared)
        self._files = files
        self._tables = tables
        self._guess = guess
        self._known: dict[str, str] = {}

    @classmethod
    def of(cls, settings: Settings, *, files: str | None = None, guess: bool = False) -> Self:
        """What `settings` declare.

        Raises:
            SettingsError: A table of `carriers_dir` is wrong.
        """
        try:
            # The shipped ones take a fifth of a second to read, and most streams never ask them.
            tables = load_tables(settings.carriers_dir) if settings.carriers_dir else None
        except TableError as error:
            raise SettingsError(f"{error}: correct the table, or the setting carriers_dir") from error
        return cls(settings.formats, files=files, tables=tables, guess=guess)

    def name(self, source: str) -> str:
        """The format of a source (`topic/partition`, a file's path, or `-`): one of `FORMAT_NAMES`, or that it is to be guessed."""
        if source not in self._known:
            self._known[source] = self._look_up(source)
        return self._known[source]

    def _look_up(self, source: str) -> str:
        topic, _, partition = source.rpartition("/")
        if topic and "/" not in topic and partition.isdecimal():
            return self._declared.get(topic, CANONICAL)
        if self._files:
            return self._files
        for glob, name in self._declared.items():
            if fnmatchcase(source, glob) or fnmatchcase(Path(source).name, glob):
                return name
        return _GUESSED if self._guess else CANONICAL

    def separated(self, records: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Part `RECORDS` into those among which our own events may be, and those of other formats."""
        if not (self._declared or self._files or self._guess):
            return records, records.clear()
        others = [source for source in records["source"].unique() if self.name(source) not in _MAYBE_OURS]
        foreign = pl.col("source").is_in(others)
        return records.filter(~foreign), records.filter(foreign)

    def read(self, source: str, value: bytes, recorded_at: datetime | None) -> Reading:
        """Read one message as what its source is declared as.

        Raises:
            RejectedError: It is no such message.
        """
        name = self.name(source)
        if name == _GUESSED:
            return self._guessed(value, recorded_at)
        return convert(value, name, recorded_at, self._tables)

    def _guessed(self, value: bytes, recorded_at: datetime | None) -> Reading:
        """Read a message of a file that nothing declares: what fits no format is a wrong event of our own."""
        try:
            return convert(value, AUTO, recorded_at, self._tables)
        except RejectedError:
            return convert(value, CANONICAL, recorded_at, self._tables)


OUR_OWN: Final = Formats({})
"""Nothing is declared: all sources hold events of our own."""
