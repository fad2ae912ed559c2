"""The command `replay`: files through the same engine as the stream, with a clock that files can vouch for.

Several files are read like the partitions of a topic: always the one that lies furthest back in time, so that the clock, which
is the earliest of the unfinished files' latest `received_at`, never runs ahead of what has not been read.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pipeline.decoding import Decoding
from pipeline.documents import open_files
from pipeline.engine import Outcome
from pipeline.files import STDIN, FileReader, FileSourceError
from pipeline.formats import Formats
from pipeline.running import Pipeline, Stop, ahead, opened
from pipeline.store import Offset
from pipeline.told import NOTHING, Told
from schemas.settings import Settings

_EVENT_BYTES: Final = 300
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class ReplayError(RuntimeError):
    """The replay cannot be done as asked; the message says what to do instead."""


class Turn(NamedTuple):
    """One batch of one file, ready to be judged."""

    told: Told
    offsets: Mapping[str, Offset]
    clock: datetime | None
    """How far the clock may go once this batch is absorbed."""


@dataclass
class Summary:
    """What batches have done so far."""

    turns: int = 0
    events: int = 0
    new_facts: int = 0
    letters: int = 0
    silent: int = 0
    """Records that are valid and tell nothing."""
    purged: int = 0
    """Rows that were deleted because they are older than the retention."""
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many changes of flags, by rule and change."""

    def add(self, outcome: Outcome) -> None:
        """Count what one batch has done."""
        self.turns += 1
        self.events += outcome.events
        self.new_facts += outcome.new_facts
        self.letters += outcome.letters
        for rule, change, count in outcome.changes.group_by("rule", "change").len().iter_rows():
            self.changes[rule, change] += count

    def changed(self) -> str:
        """The changes of flags, a line for each rule."""
        by_rule: dict[str, list[str]] = {}
        for (rule, change), count in sorted(self.changes.items()):
            by_rule.setdefault(rule, []).append(f"{count:,} {change}")
        width = max(map(len, by_rule), default=0)
        lines = [f"  {rule:{width}}  {', '.join(changes)}\n" for rule, changes in by_rule.items()]
        return "".join(lines) or "no flag has changed\n"


def beginnings(readers: Sequence[FileReader], decoder: Decoding) -> dict[str, datetime]:
    """Look when each file begins, by name: the `received_at` of its first record.

    With this a folder of hourly files is read one file after the other, and only those that overlap in time are open together.
    Standard input, which cannot be looked into, and files whose first record is no event are missing.
    """
    if len(readers) == 1:
        return {}
    found: dict[str, datetime] = {}
    for name in (reader.name for reader in readers if reader.name != STDIN):
        with closing(open_files([name], 1)[0]) as reader:
            batch = reader.read()
        if batch is not None and (received_at := decoder.decode(batch.records).latest()):
            found[name] = received_at
    return found


def turns(
    readers: Sequence[FileReader], decoder: Decoding, as_of: datetime | None, begins: Mapping[str, datetime]
) -> Iterator[Turn]:
    """Read `readers` to their ends, interleaved by time, as turns for the engine.

    The last turn carries the final clock, in the transaction of the last offsets: had they a transaction each, a replay that
    is interrupted between the two would never learn the final clock, because a finished file is not read again.

    Args:
        readers: The files.
        decoder: Makes events of records.
        as_of: The final clock; events received later are left out. None: the clock ends at the largest `received_at`.
        begins: When files begin, where that is known; the others are looked into first.

    Raises:
        FileSourceError: A file is damaged. Everything before the damage has been yielded.
    """
    latest = {reader: begins.get(reader.name, _NEVER) for reader in readers}
    unfinished = list(readers)
    largest = _NEVER
    waiting: Turn | None = None
    upcoming: dict[FileReader, Callable[[], _Read] | None] = {}
    while unfinished:
        reader = min(unfinished, key=latest.__getitem__)
        begun = upcoming.pop(reader) if reader in upcoming else _begun(reader, decoder, as_of)
        if begun is None:
            unfinished.remove(reader)
            continue
        if decoder.width > 1 and not upcoming and reader.name != STDIN:
            # Mostly its turn comes again. One batch of one file: files may be many.
            upcoming[reader] = _begun(reader, decoder, as_of)
        try:
            read = begun()
        except FileSourceError:
            if waiting is not None:
                yield waiting
            raise
        if received_at := read.told.latest():
            latest[reader] = max(latest[reader], received_at)
            largest = max(largest, received_at)
        if waiting is not None:
            yield waiting
        clock = min(latest[one] for one in unfinished)
        waiting = Turn(read.told, _offsets(reader.name, read.offset, as_of), _known(min(clock, as_of or clock)))
        if upcoming.get(reader):  # then this one cannot be the last
            yield waiting
            waiting = None
    yield (waiting or Turn(NOTHING, {}, None))._replace(clock=as_of or _known(largest))


class _Read(NamedTuple):
    """A batch of a file."""

    told: Told
    offset: Offset


def _begun(reader: FileReader, decoder: Decoding, as_of: datetime | None) -> Callable[[], _Read] | None:
    """Read the next batch and begin to decode it; what is returned waits for that, or raises what is wrong. None at the end."""
    try:
        batch = reader.read()
    except FileSourceError as error:
        damage = error

        def fail() -> _Read:
            raise damage

        return fail
    if batch is None:
        return None
    told = decoder.begin(batch.records, as_of)
    return lambda: _Read(told(), batch.offset)


def _known(clock: datetime) -> datetime | None:
    return None if clock == _NEVER else clock


def offset_key(name: str, as_of: datetime | None) -> str:
    """Under which the offset of the file `name` is kept. What a replay `as_of` has left out is not read for another one."""
    return name if as_of is None else f"{name}@{as_of.astimezone(UTC).isoformat()}"


def _offsets(name: str, offset: Offset, as_of: datetime | None) -> dict[str, Offset]:
    return {} if name == STDIN else {offset_key(name, as_of): offset}


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Replay `arguments.paths` into the database; returns the exit status.

    Raises:
        FileSourceError: A path is no readable file of a known kind.
        ReplayError: `--as-of` lies before what the database has already judged.
    """
    as_of: datetime | None = arguments.as_of
    started = time.monotonic()
    summary = Summary()
    # Before the database is opened: a path that is wrong must not leave an empty one behind.
    readers = open_files(arguments.paths, settings.batch_records_max)
    records = (_total_bytes(readers) or 0) // _EVENT_BYTES
    with Stop() as stop, opened(settings, Formats.of(settings, files=arguments.format), records) as pipeline:
        _refuse_the_past(as_of, pipeline, settings.db)
        offsets = pipeline.store.offsets()
        for reader in readers:
            offset = offsets.get(offset_key(reader.name, as_of))
            if offset is not None and reader.name != STDIN:
                reader.resume(offset)
        begins = beginnings(readers, pipeline.decoder)
        looked_into = pipeline.decoder.silent
        with _progress() as progress, closing(ahead(turns(readers, pipeline.decoder, as_of, begins), stop)) as upcoming:
            task = progress.add_task("", total=_total_bytes(readers), speed="")
            for turn in upcoming:
                summary.add(pipeline.engine.process(turn.told, turn.offsets, turn.clock))
                pipeline.purger.step()
                speed = f"{summary.events / (time.monotonic() - started):,.0f} events/s"
                progress.update(task, completed=sum(reader.bytes_read for reader in readers), speed=speed)
        if not stop:
            pipeline.purger.finish()
        clock, summary.purged = pipeline.engine.clock, pipeline.purger.rows
        summary.silent = pipeline.decoder.silent - looked_into
    sys.stdout.write(_text(summary, time.monotonic() - started, clock, settings) if summary.turns or not stop else "")
    if stop:
        sys.stderr.write("parcelwatch: interrupted: run the same command again to go on where it stopped\n")
        return stop.status
    return 0


def _refuse_the_past(as_of: datetime | None, pipeline: Pipeline, db: Path) -> None:
    clock = pipeline.engine.clock
    if as_of is not None and clock is not None and as_of < clock:
        message = (
            f"{db} has been judged up to {clock.isoformat()}, later than --as-of {as_of.isoformat()}: "
            "replay into a new --db to see what was known then"
        )
        raise ReplayError(message)


def _total_bytes(readers: Sequence[FileReader]) -> int | None:
    sizes = [reader.size for reader in readers]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def _text(summary: Summary, seconds: float, clock: datetime | None, settings: Settings) -> str:
    """The summary in a few lines, with where to look next."""
    duplicates = summary.events - summary.new_facts
    text = (
        f"{summary.events:,} events in {seconds:.1f} s ({summary.events / seconds:,.0f} events/s): "
        f"{summary.new_facts:,} new, {duplicates:,} known already; dead letters: {summary.letters:,}\n"
    )
    if summary.silent:
        text += f"payloads without any scan: {summary.silent:,}\n"
    if not summary.events and not summary.letters and not summary.silent:
        text = "nothing to read: the files are empty, or have been read before\n"
    text += summary.changed()
    if summary.purged:
        text += f"rows purged, older than the retention of {settings.retention_days:,} days: {summary.purged:,}\n"
    if clock is not None:
        text += f"judged as of {clock.astimezone(ZoneInfo(settings.timezone)).isoformat()}\n"
    text += f"next: parcelwatch report --db {settings.db}\n"
    if summary.letters:
        text += f'dead letters: parcelwatch query "FROM dead_letters" --db {settings.db}\n'
    return text
