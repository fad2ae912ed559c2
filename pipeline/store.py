# ruff: noqa: S608 - every name in a statement is ours
"""The durable store: facts, flags, dead letters and offsets in one DuckDB file, committed together.

Tables are append-only logs without keys or indexes (both make commits slower as the file grows); what stands now is a
view (`views.sql`). Duplicates are removed before they get here.

A kill during a DuckDB checkpoint can tear the file: a checkpoint overwrites in place blocks that the live header still
uses. Outside checkpoints commits only append to the write-ahead log. Hence the rules kept here:

1. Nothing is checkpointed but by `Store`, between commits, and only when a finished copy of the file exists that holds
   everything up to the checkpoint before. Until the new checkpoint is complete, that copy and the write-ahead log hold
   everything.
2. After a checkpoint a child process copies the file (`copying.py`) and renames the copy into place. That copy,
   `<stem>.published<suffix>`, is also what other processes read.
3. On start every table is read in full; if that fails, the file is set aside and the copy put in its place, with the log.

What every commit changes is deleted and inserted again, never updated: DuckDB makes no checkpoint while a transaction that began
before the last UPDATE still reads.
"""

import fcntl
import logging
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import get_ident
from types import TracebackType
from typing import Any, Final, Self

import duckdb
import polars as pl

from pipeline import copying, healing
from pipeline.adding import ADDED, OFFSETS, Added, Commit, Offset
from pipeline.ddl import create_views, ddl, upgrade, views_sql
from pipeline.healing import StoreError, StoreLockedError
from schemas.frames import FACTS, FLAG_LOG, LETTERS

__all__ = ["Commit", "Offset", "Store", "StoreError", "StoreLockedError"]

_log = logging.getLogger(__name__)

COMMITS_WAITING_MAX: Final = 2
"""How many commits may be under way: while one waits for a checkpoint, another batch is judged."""
_BATCH_ROWS: Final = 65_536
_COPY_SHARE: Final = 10
"""When a copy took S seconds, the next checkpoint begins no sooner than this many times S after the last one."""
_LONG_LOG_BYTES: Final = 64 * 2**20
"""What a checkpoint takes half a second to write into the file: it comes at once then, and commits do not wait for longer ones."""
_COPY_SHARE_LONG_LOG: Final = 2
_SHORT_LOG_BYTES: Final = 16 * 2**20
"""What one checkpoint writes has row groups of its own. Those of a longer log are large enough to stay as they are."""
_LETTER: Final = ["source", "position", "raw"]
_SAME_LETTER: Final = (
    "letters.source = again.source AND letters.position = again.position AND letters.raw IS NOT DISTINCT FROM again.raw"
)


class Store:
    """One database file, opened for writing by this process alone. Not for several threads at once, but for `sql`.

    Attributes:
        path: The file.
        copy_path: Its published copy, for other processes to read; at most some seconds old while commits go on.
        healed: One sentence for the log when the file had to be restored, else None.
    """

    def __init__(self, path: Path, *, copy_every_seconds: float = 10.0, extra_views: str = "") -> None:
        """Open the file, creating or healing it where needed.

        Args:
            path: The database file. Its folder must exist.
            copy_every_seconds: How often the copy is renewed; less often if copying takes long, more often if much is committed.
            extra_views: More SQL of `CREATE OR REPLACE VIEW` statements.

        Raises:
            StoreLockedError: Another process has it.
            StoreError: It is no database of ours, of a newer version, or damaged without a copy to restore it from.
        """
        self.path = path.resolve()
        self.copy_path = healing.copy_path_of(self.path)
        self._clock: datetime | None = None
        self._offsets: dict[str, Offset] = {}
        self._last_letters: dict[str, int] = {}
        self._next_seq = self._next_letter = 1
        self.memory: str | None = None
        """The token of the file that memory was last written to; see `pipeline.memory`."""
        self.key_mark: str | None = None
        """What tells the key that names are hashed with from others; see `pipeline.running`."""
        self.appended: dict[str, int] = {}
        """How many rows each table of facts has ever been given."""
        self._copy_every_seconds = copy_every_seconds
        self._copy: subprocess.Popen[str] | None = None
        self._copy_began_at = self._copy_seconds = 0.0
        self._copy_has_checkpoint = False
        """Whether a finished copy holds what the last checkpoint wrote. Without it there is no next checkpoint."""
        self._committed = True
        """Whether the log may hold anything."""
        self._deleted = False
        """Whether rows were deleted that the file still holds."""
        self._was_little = True
        """Whether the last checkpoint had little to write."""
        self._owner = get_ident()
        self._writer = ThreadPoolExecutor(1, "committing")
        self._pending: deque[Future[None]] = deque()
        """The commits that the writer was given last and nobody has waited for yet."""
        self._failed = False
        """Whether one of them was not written."""
        if not self.path.parent.is_dir():
            raise StoreError(f"{self.path.parent}: no such folder; create it, or name another file")
        with ExitStack() as undo:
            self._lock_fd = healing.lock(self.path)
            undo.callback(os.close, self._lock_fd)
            healing.wait_for_orphaned_copy(self.copy_path)
            # Views and all: the first copy is made of this, before any checkpoint of ours.
            self._database, self.healed = healing.open_database(self.path, ddl(views_sql(extra_views)))
            undo.callback(self._database.close)
            upgrade(self._connection)
            create_views(self._connection, extra_views)
            self._added = {table: Added(schema) for table, schema in ADDED.items()}
            self._prepare()
            self._remember()
            self._start_copy()
            undo.pop_all()

    # Writing

    def commit(self, commit: Commit) -> None:
        """Make `commit` durable in one transaction, then renew the published copy if that is due.

        Raises:
            duckdb.Error: Nothing of it was written. The store must not be used any more.
        """
        assert commit.clock is None or self._clock is None or commit.clock >= self._clock, "the clock went back"
        with self._transaction():
            for table, frame in commit.facts.items():
                self._append(table, frame)
            self._append("flag_log", _numbered(commit.flags, "seq", self._next_seq))
            new_letters = self._write_letters(commit.letters, commit.redriven)
            self._write_offsets(commit.offsets)
            if commit.clock is not None and commit.clock != self._clock:
                self._set("clock", commit.clock)
        for table, frame in commit.facts.items():
            self.appended[table] += frame.height
        self._offsets |= commit.offsets
        self._clock = commit.clock or self._clock
        self._next_seq += commit.flags.height
        self._next_letter += new_letters.height
        if new_letters.height:
            for source, position in new_letters.group_by("source").agg(pl.col("position").max()).iter_rows():
                self._last_letters[source] = max(position, self._last_letters.get(source, position))
        # Time that passes alone is not worth a copy of the whole file.
        news: tuple[Sized, ...] = (commit.facts, commit.flags, commit.letters, commit.offsets, commit.redriven)
        self._committed |= any(len(part) for part in news)
        self.tend()

    def commit_soon(self, commit: Commit) -> None:
        """Do what `commit` does in a thread of its own. Whatever is asked of the store next waits for it, and raises its errors.

        Waits itself while `COMMITS_WAITING_MAX` earlier ones are not durable yet.
        """
        while len(self._pending) >= COMMITS_WAITING_MAX:
            self._pending.popleft().result()
        self._soon(partial(self.commit, commit))

    def _soon(self, work: Callable[[], None]) -> None:
        self._pending.append(self._writer.submit(self._unless_failed, work))

    def _unless_failed(self, work: Callable[[], None]) -> None:
        """Do nothing behind a commit that failed: the next one's offsets would say that its records are known."""
        if self._failed:
            return
        try:
            work()
        except BaseException:
            self._failed = True
            raise

    def settle(self) -> None:
        """Wait until everything is durable that was to be committed.

        Raises:
            duckdb.Error: It is not. The store must not be used any more.
        """
        while self._pending and get_ident() == self._owner:
            self._pending.popleft().result()

    def purge(self, subjects: pl.DataFrame, since: datetime, until: datetime) -> int:
        """Delete everything about whole subjects in one transaction, and return how many rows that were.

        Args:
            subjects: Orders (`carrier` null, `number`) and waybills (`carrier`, `number`), with all that uploads and replacements
                link to them.
            since: No fact of theirs was received, and no flag changed, before; so that DuckDB need not look at every row.
            until: Nor after.

        Raises:
            duckdb.Error: Nothing was deleted. The store must not be used any more.
        """
        of_order = "order_id IN (SELECT number FROM gone WHERE carrier IS NULL)"
        of_waybill = "(carrier, waybill_no) IN (SELECT (carrier, number) FROM gone WHERE carrier IS NOT NULL)"
        wheres = dict.fromkeys(("order_facts", "uploads", "aftersale_facts", "flag_log"), of_order)
        wheres |= dict.fromkeys(("scans", "replacements"), of_waybill)
        with self._registered("gone", subjects.select("carrier", "number")):
            return self._delete(
                {
                    table: f"{'changed_at' if table == 'flag_log' else 'received_at'} BETWEEN $1 AND $2 AND {where}"
                    for table, where in wheres.items()
                },
                since,
                until,
            )

    def purge_letters(self, before: datetime, limit: int) -> int:
        """Delete the dead letters first seen `before`, at most `limit` of them, and return how many those were."""
        oldest = "SELECT id FROM letters WHERE first_seen_at < $1 ORDER BY id LIMIT $2"
        return self._delete({"letters": f"id IN ({oldest})"}, before, limit)

    def _delete(self, wheres: Mapping[str, str], *parameters: object) -> int:
        """Delete rows of tables, and count them in `purged`, in one transaction."""
        numbers = {"flag_log": self._next_seq - 1, "letters": self._next_letter - 1}
        deleted = 0
        with self._transaction():
            for table, where in wheres.items():
                ((rows,),) = self._connection.execute(f"DELETE FROM {table} WHERE {where}", list(parameters)).fetchall()
                if rows:
                    counted = "SELECT table_name, rows + ?, ? FROM purged WHERE table_name = ?"
                    self._run(f"INSERT INTO purged {counted}", rows, numbers.get(table), table)
                    self._run(
                        "DELETE FROM purged AS p WHERE table_name = ? "
                        "AND rows < (SELECT max(rows) FROM purged WHERE table_name = ?)",
                        table,
                        table,
                    )
                deleted += rows
        self._committed |= deleted > 0
        self._deleted |= deleted > 0
        return deleted

    def mark_published(self, topic: str, last: int) -> None:
        """Remember that everything up to `last` (a `seq` of flags, an `id` of letters) was published to `topic`."""
        with self._transaction():
            self._run("DELETE FROM published WHERE topic = ?", topic)
            self._run("INSERT INTO published VALUES (?, ?)", topic, last)
        self._committed = True

    def remember_memory(self, token: str | None) -> None:
        """Remember to which file memory was written, behind the commits under way; None: it is of no use any more."""
        if token == self.memory:
            return
        self.memory = token
        self._soon(partial(self._set_alone, "memory", token))

    def remember_key(self, mark: str) -> None:
        """Remember what tells the key that names are hashed with from others."""
        self.key_mark = mark
        self._set_alone("key_mark", mark)

    def _set_alone(self, name: str, value: object) -> None:
        with self._transaction():
            self._set(name, value)
        self._committed = True

    # Reading

    def offsets(self) -> dict[str, Offset]:
        """Return how far each source has been read."""
        self.settle()
        return dict(self._offsets)

    def clock(self) -> datetime | None:
        """Return the committed clock, in UTC."""
        self.settle()
        return self._clock

    def load(self, orders: pl.Series, waybills: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """Return everything known of some orders (ids) and waybills (`carrier`, `waybill_no`), by table of `FACTS`.

        `uploads` are those of the orders and of the waybills, `replacements` those from and to the waybills, and `flags` the
        flags of the orders as they stand, as `FLAG_LOG`.
        """
        by_order = "order_id IN (SELECT order_id FROM wanted_orders)"
        by_waybill = "(carrier, waybill_no) IN (SELECT (carrier, waybill_no) FROM wanted_waybills)"
        to_waybill = "(new_carrier, new_waybill_no) IN (SELECT (carrier, waybill_no) FROM wanted_waybills)"
        wanted = {
            "order_facts": by_order,
            "uploads": f"{by_order} OR {by_waybill}",
            "scans": by_waybill,
            "replacements": f"{by_waybill} OR {to_waybill}",
            "aftersale_facts": by_order,
        }
        with (
            self._registered("wanted_orders", orders.cast(pl.String).to_frame("order_id")),
            self._registered("wanted_waybills", waybills.select("carrier", "waybill_no")),
        ):
            found = {table: self._read(_select(table, FACTS[table], where)) for table, where in wanted.items()}
            found["flags"] = self._read(_select("flags", FLAG_LOG, by_order))
        return found

    def flagged_orders(self, exemptions: pl.DataFrame) -> pl.DataFrame:
        """Return the `order_id` of orders with flags that these `exemptions` may be about, wherever they were delivered."""
        with self._registered("granted", exemptions.select("platform", "merchant_id", "applies_from")):
            return self._read(
                """
                SELECT DISTINCT order_id
                FROM flags SEMI JOIN granted
                  ON coalesce(granted.platform = flags.platform, granted.platform IS NULL)
                 AND coalesce(granted.merchant_id = flags.merchant_id, granted.merchant_id IS NULL)
                 AND coalesce(violated_at >= applies_from, true)
                """
            )

    def facts(self, table: str, after: int = 0) -> Iterator[pl.DataFrame]:
        """Yield the facts of a table of `FACTS` but for the first `after` ever appended, in frames of at most 65,536 rows."""
        # What is deleted is old, so the last rows have the last ids without a gap.
        first = f"rowid > (SELECT max(rowid) FROM {table}) - {self.appended[table] - after:d}" if after else "true"
        with self._connection.cursor() as cursor:
            for batch in cursor.sql(_select(table, FACTS[table], first)).to_arrow_reader(_BATCH_ROWS):
                yield _polars(batch)

    def flags(self) -> pl.DataFrame:
        """Return all flags as they stand, as `FLAG_LOG`."""
        return self._read(_select("flags", FLAG_LOG))

    def flags_after(self, seq: int, limit: int = _BATCH_ROWS) -> pl.DataFrame:
        """Return the changes of flags after number `seq`, the first `limit` of them, in order: `seq` and `FLAG_LOG`."""
        schema = pl.Schema({"seq": pl.Int64(), **FLAG_LOG})
        return self._read(f"{_select('flag_log', schema, f'seq > {seq:d}')} ORDER BY seq LIMIT {limit:d}")

    def letters_after(self, letter: int, limit: int = 1024, *, dead_only: bool = False) -> pl.DataFrame:
        """Return the dead letters after id `letter`, the first `limit` of them, in order: `id` and `LETTERS`.

        Args:
            letter: 0 for the first.
            limit: Letters can be megabytes each.
            dead_only: Leave out those that were redriven.
        """
        schema = pl.Schema({"id": pl.Int64(), **LETTERS})
        where = f"id > {letter:d}" + (" AND redriven_at IS NULL" if dead_only else "")
        return self._read(f"{_select('letters', schema, where)} ORDER BY id LIMIT {limit:d}")

    def published(self, topic: str) -> int:
        """Return the last number that was published to `topic`, 0 before the first."""
        rows = self._connection.execute("SELECT last FROM published WHERE topic = ?", [topic]).fetchall()
        return int(rows[0][0]) if rows else 0

    def sql(self, query: str, parameters: Sequence[object] = ()) -> pl.DataFrame:
        """Run a query of our own, up to the last commit; may be called from other threads. Times are in UTC."""
        with self.cursor() as cursor:
            return _polars(cursor.sql(query, params=list(parameters)).to_arrow_table())

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return another connection to the database, for one thread to read from and close. It sees what is committed."""
        return self._connection.cursor()

    # The copy

    def tend(self) -> None:
        """Renew the published copy if that is due. Called by `commit`; call it as well while there is nothing to commit."""
        self.settle()
        if self._copy_finished() and self._copy_is_due() and (self._committed or not self._copy_has_checkpoint):
            self.publish_copy()

    def publish_copy(self) -> None:
        """Checkpoint and begin to copy the file, unless a copy is still being made, or another connection is in the way."""
        self.settle()
        if not self._copy_finished():
            return
        if self._copy_has_checkpoint and self._committed:
            self._copy_has_checkpoint = False
            # To merge what stays small, and what deleting has thinned out, takes several times as long as to write what is new.
            # So it waits for quiet times: a service that has caught up and is stopped has had none.
            little = self._log_bytes() < _SHORT_LOG_BYTES
            merges = self._deleted or (little and self._was_little)
            self._was_little = little
            try:
                self._run(f"SET GLOBAL max_vacuum_tasks = {merges:d}")
                self._run("CHECKPOINT")
            except duckdb.TransactionException as error:
                # Another connection was in the way, and nothing was written: the next turn tries again.
                self._copy_has_checkpoint = True
                _log.info("the checkpoint is put off: %s", error)
                return
            self._committed = self._deleted = False
            healing.drop_cache(self._connection)
        if not self._copy_has_checkpoint:
            self._start_copy()

    def close(self) -> None:
        """Checkpoint, finish the copy (so that it equals the file), and let go of the file. May be called twice."""
        if self._lock_fd < 0:
            return
        try:
            self.settle()
            for _ in range(2):  # the copy being made, and then one of what was committed meanwhile
                self._copy_finished(wait=True)
                self.publish_copy()
            self._copy_finished(wait=True)
        finally:
            self._let_go()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close; after an error let go without a checkpoint, so that nothing but the next start touches the file."""
        if kind is None:
            self.close()
        else:
            self._let_go()

    def _let_go(self) -> None:
        if self._lock_fd < 0:
            return
        self._writer.shutdown()  # waits; after an error nobody asks any more what became of the last commit
        self._pending.clear()
        self._database.close()
        self._copy_finished(wait=True)
        os.close(self._lock_fd)
        self._lock_fd = -1

    def _start_copy(self) -> None:
        tmp_fd = os.open(f"{self.copy_path}.tmp", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(tmp_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._copy = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, "-I", "-S", copying.__file__, str(self.path), str(self.copy_path), str(tmp_fd)],
                pass_fds=(tmp_fd,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for us; the copy is finished
            )
        finally:
            os.close(tmp_fd)
        self._copy_began_at = time.monotonic()

    def _copy_is_due(self) -> bool:
        """Return whether the next checkpoint should be made.

        Its own time plays no part: what it has to write waits for it, and would be the more the longer it is put off.
        """
        seconds = time.monotonic() - self._copy_began_at
        if self._copy_has_checkpoint and self._log_bytes() >= _LONG_LOG_BYTES:
            return seconds >= _COPY_SHARE_LONG_LOG * self._copy_seconds
        return seconds >= max(self._copy_every_seconds, _COPY_SHARE * self._copy_seconds)

    def _log_bytes(self) -> int:
        try:
            return healing.log_path_of(self.path).stat().st_size
        except FileNotFoundError:
            return 0

    def _copy_finished(self, *, wait: bool = False) -> bool:
        """Return whether no copy is being made; take note of the one that was."""
        if self._copy is None:
            return True
        if not wait and self._copy.poll() is None:
            return False
        output, errors = self._copy.communicate()
        failed, self._copy = self._copy.returncode != 0, None
        if failed:
            reason = (errors.strip().splitlines() or ["it was killed"])[-1]
            _log.warning(
                "%s could not be renewed (%s): it gets older, and the write-ahead log longer", self.copy_path, reason
            )
            return True
        self._copy_has_checkpoint = True
        self._copy_seconds = float(output)
        return True

    def _remember(self) -> None:
        """Read what the writer keeps in memory."""
        state = self.sql(
            f"SELECT clock, memory, key_mark, {_next_number('flag_log', 'seq')} AS seq, {_next_number('letters', 'id')} AS letter "
            "FROM parcelwatch"
        ).row(0, named=True)
        self._clock, self.memory, self.key_mark = state["clock"], state["memory"], state["key_mark"]
        self._next_seq, self._next_letter = state["seq"], state["letter"]
        purged = dict(self.sql("SELECT table_name, rows FROM purged").iter_rows())
        self.appended = {table: self.sql(f"SELECT count(*) FROM {table}").item() + purged[table] for table in FACTS}
        offsets = self.sql("SELECT source, position, checksum FROM offsets")
        self._offsets = {source: Offset(*at) for source, *at in offsets.iter_rows()}
        self._last_letters = dict(self.sql("SELECT source, max(position) FROM letters GROUP BY source").iter_rows())

    # Statements

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        self.settle()
        return self._database

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.begin()
        try:
            yield
            self._connection.commit()
        except BaseException:
            with suppress(duckdb.Error):
                self._connection.rollback()
            raise

    def _set(self, name: str, value: object) -> None:
        """Give the one row of `parcelwatch` another value."""
        self._run(f"INSERT INTO parcelwatch SELECT * REPLACE (? AS {name}) FROM parcelwatch", value)
        self._run(f"DELETE FROM parcelwatch WHERE {name} IS DISTINCT FROM ?", value)

    def _prepare(self) -> None:
        """Plan what nearly every commit does: for a small one, that takes longer than doing it."""
        for table, added in self._added.items():
            self._connection.register(f"new_{table}", added)
            self._run(f"PREPARE add_{table} AS INSERT INTO {table} BY NAME FROM new_{table}")
        self._run("PREPARE forget_offsets AS DELETE FROM offsets WHERE source IN (SELECT source FROM new_offsets)")

    def _append(self, table: str, frame: pl.DataFrame) -> None:
        if frame.height:
            with self._added[table].being(frame):
                self._run(f"EXECUTE add_{table}")

    def _write_letters(self, letters: pl.DataFrame, redriven: Sequence[int]) -> pl.DataFrame:
        """Write letters; return those that were new."""
        if letters.is_empty() and not redriven:
            return letters
        if redriven:
            with self._registered("fed", pl.DataFrame({"id": redriven}, schema={"id": pl.Int64()})):
                self._run("UPDATE letters SET redriven_at = now() WHERE id IN (SELECT id FROM fed)")
        letters = (
            letters.select(LETTERS.names()).unique(_LETTER, keep="last", maintain_order=True).with_row_index("row")
        )
        last = pl.col("source").replace_strict(self._last_letters, default=None, return_dtype=pl.Int64)
        again = letters.filter(pl.col("position") <= last)  # else beyond all that is known: no need to look
        if again.height:
            with self._registered("again", again):
                known = self._read(f"SELECT row FROM again JOIN letters ON {_SAME_LETTER}")
                self._run(f"UPDATE letters SET error = again.error, redriven_at = NULL FROM again WHERE {_SAME_LETTER}")
            letters = letters.filter(~pl.col("row").is_in(known["row"].implode()))
        letters = _numbered(letters.drop("row"), "id", self._next_letter)
        if letters.height:
            with self._registered("added", letters):
                self._run("INSERT INTO letters BY NAME SELECT *, now() AS first_seen_at FROM added")
        return letters

    def _write_offsets(self, offsets: Mapping[str, Offset]) -> None:
        changed = [(source, *offset) for source, offset in offsets.items() if self._offsets.get(source) != offset]
        if not changed:
            return
        rows = pl.DataFrame(changed, schema=OFFSETS, orient="row")
        with self._added["offsets"].being(rows):
            self._run("EXECUTE forget_offsets")
            self._run("EXECUTE add_offsets")

    def _run(self, statement: str, *parameters: object) -> None:
        # An open result would block the next `register`.
        self._connection.execute(statement, list(parameters)).fetchall()

    def _read(self, query: str) -> pl.DataFrame:
        return _polars(self._connection.sql(query).to_arrow_table())

    @contextmanager
    def _registered(self, name: str, frame: pl.DataFrame) -> Iterator[None]:
        """Give statements `frame` by `name`."""
        self._connection.register(name, frame.to_arrow())
        try:
            yield
        finally:
            self._connection.unregister(name)


def _select(table: str, schema: pl.Schema, where: str = "true") -> str:
    return f"SELECT {', '.join(schema.names())} FROM {table} WHERE {where}"


def _next_number(table: str, column: str) -> str:
    """Return the SQL of the number after all that were ever given, also to rows that were purged."""
    purged = f"(SELECT last FROM purged WHERE table_name = '{table}')"
    return f"(SELECT greatest(coalesce(max({column}), 0), coalesce({purged}, 0)) + 1 FROM {table})"


def _numbered(frame: pl.DataFrame, name: str, first: int) -> pl.DataFrame:
    return frame.select(pl.int_range(first, first + pl.len(), dtype=pl.Int64).alias(name), pl.all())


def _polars(rows: Any) -> pl.DataFrame:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame
