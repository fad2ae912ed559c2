"""Opening a database file that a crash may have torn: lock, open, read all of it, and restore it from its copy if need be.

`store.py` says when the copy is made and why the file and its copy are never both bad.
"""

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

from pipeline.copying import copy_durably, sync_folder

FORMAT: Final = 4
"""The version of the tables. A file of a newer one is refused, one of an older one is upgraded."""

CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    # Only explicit checkpoints, and every row through the log: nothing else may write to the file itself.
    "checkpoint_threshold": "1000TB",
    "auto_checkpoint_skip_wal_threshold": str(2**62),
    "enable_optimistic_write": "false",
    # A checkpoint may make one run of a table's row groups anew, not a hundred: the writer waits for it. `store.py` says when.
    "max_vacuum_tasks": "1",
    "storage_compatibility_version": "v1.5.0",  # files that DuckDB 1.5 can read as well
    "memory_limit": "1GB",  # it would keep every block that it has read, up to most of the machine
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}

_CACHE_BYTES: Final = 128 * 2**20
"""How much of the file DuckDB may keep in memory while nobody asks."""
_USED: Final = """
    SELECT coalesce(sum(memory_usage_bytes) FILTER (tag = 'BASE_TABLE'), 0), coalesce(sum(memory_usage_bytes), 0)
    FROM duckdb_memory()
"""

_HEIR_SECONDS_MAX: Final = 1.0
"""How long a child that was just forked by a writer that has ended may take to close what it has inherited, our lock too."""
_LOCK_WAIT_SECONDS: Final = 5.0
"""How long a reader that has the file itself open is waited for."""
_LOCKED: Final = re.compile(r"(?i)could not set lock|conflicting lock")
_PID: Final = re.compile(r"PID (\d+)")
_NOT_DAMAGE: Final = re.compile(r"(?i)version number|permission denied|no space left|too many open files")
"""What a failure to open says when the file may be whole: nothing to heal, a person must act."""


class StoreError(Exception):
    """The database cannot be used; the message says why and what to do. Nothing was changed."""


class StoreLockedError(StoreError):
    """Another process has the database."""


class DamagedError(Exception):
    """The file, or the log beside it, cannot be read."""


class Opened(NamedTuple):
    """A database open for writing, every row of which was read."""

    connection: duckdb.DuckDBPyConnection
    healed: str | None
    """One sentence for the log when the file had to be restored."""


def copy_path_of(path: Path) -> Path:
    """Return the name of the published copy of a database: `flags.published.duckdb` of `flags.duckdb`."""
    return path.with_name(f"{path.stem}.published{path.suffix}")


def log_path_of(path: Path) -> Path:
    """Return the name of the write-ahead log of a database."""
    return Path(f"{path}.wal")


def lock(path: Path) -> int:
    """Lock a database for this process and return the descriptor that holds the lock until it is closed.

    The lock is a file of our own, which stays: DuckDB's lock begins only after it has read the file, and is lost when any
    descriptor of the file is closed.

    Raises:
        StoreLockedError: Another process has it.
    """
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o666)
    give_up_at = time.monotonic() + _HEIR_SECONDS_MAX
    while not _has_locked(fd):
        if time.monotonic() >= give_up_at:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise _in_use(path, holder)
        time.sleep(0.02)
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _has_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_database(path: Path, ddl: str) -> Opened:
    """Open a database that this process has locked; create it with `ddl` when there is none, restore it when it is damaged.

    Raises:
        StoreLockedError: A reader keeps the file itself open.
        StoreError: It is no database of ours, of a newer version, or damaged without a copy to restore it from.
    """
    new = _new(path)
    for leftover in (new, log_path_of(new)):
        leftover.unlink(missing_ok=True)
    if path.exists():
        try:
            return Opened(_open(path), None)
        except DamagedError as damage:
            return _heal(path, f"could not be read ({damage})")
    if copy_path_of(path).exists():
        return _heal(path, "was missing")
    log = log_path_of(path)
    if log.exists():
        raise StoreError(
            f"{log} is there, but not {path} that it belongs to: restore that, or move the log away to start anew"
        )
    with duckdb.connect(
        str(new), config=CONFIG
    ) as connection:  # under another name, so that the file is never half made
        connection.execute(ddl)
        connection.execute("CHECKPOINT").fetchall()
    _put(new, path)
    return Opened(_open(path), None)


def wait_for_orphaned_copy(copy_path: Path) -> None:
    """Wait until the copy that a killed writer left running is finished: our first checkpoint must not come between."""
    tmp = Path(f"{copy_path}.tmp")
    with suppress(FileNotFoundError), tmp.open("rb") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        tmp.unlink(missing_ok=True)


def drop_cache(connection: duckdb.DuckDBPyConnection) -> None:
    """Have DuckDB give up what it keeps of the file in memory: it does so only at its limit, or when that comes down."""
    ((cached, used),) = connection.execute(_USED).fetchall()
    if cached <= _CACHE_BYTES or used - cached > _CACHE_BYTES / 2:  # then a query is at work, and may need more
        return
    with suppress(duckdb.OutOfMemoryException):
        connection.execute(f"SET GLOBAL memory_limit = '{_CACHE_BYTES}B'").fetchall()
    connection.execute(f"SET GLOBAL memory_limit = '{CONFIG['memory_limit']}'").fetchall()


def _open(path: Path) -> duckdb.DuckDBPyConnection:
    """Look first and touch nothing: opening for writing deletes a log that the file, damaged or not, claims to hold already."""
    _check(path)
    connection = _connect(path, read_only=False)
    connection.execute("PRAGMA disable_checkpoint_on_shutdown").fetchall()
    connection.execute("SET GLOBAL TimeZone = 'UTC'").fetchall()
    # Dividing the rows of a batch among threads costs a third more than appending them, and other threads wait for these CPUs.
    connection.execute("SET GLOBAL threads = 1").fetchall()
    return connection


def _check(path: Path) -> None:
    """Read every row: blocks carry checksums, but are read only when their rows are.

    Raises:
        DamagedError: The file or its log cannot be read.
        StoreLockedError: Another process keeps it open.
        StoreError: It is not ours, of a newer version, or may not be opened.
    """
    with _connect(path, read_only=True) as connection:
        try:
            found = connection.execute("SELECT format FROM parcelwatch").fetchall()
            if found[0][0] > FORMAT:
                raise StoreError(
                    f"{path} was written by a newer parcelwatch (format {found[0][0]}, this one knows {FORMAT}): upgrade"
                )
            tables = connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
            )
            for (table,) in tables.fetchall():
                connection.execute(f'SELECT bit_xor(hash(t)) FROM "{table}" AS t').fetchall()  # noqa: S608 - from the catalog
        except duckdb.CatalogException as error:
            raise StoreError(f"{path} is a DuckDB database, but not parcelwatch's: name another file") from error
        except duckdb.OutOfMemoryException as error:
            raise StoreError(f"{path}: {_one_line(error)}") from error
        except duckdb.Error as error:
            raise DamagedError(_one_line(error)) from error


def _connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    if not path.is_file():
        raise DamagedError("no such file") if not path.exists() else StoreError(f"{path} is not a file")
    give_up_at = time.monotonic() + _LOCK_WAIT_SECONDS
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=CONFIG)
        except duckdb.OutOfMemoryException as error:
            raise StoreError(f"{path}: {_one_line(error)}") from error
        except duckdb.Error as error:
            message = _one_line(error)
            if _NOT_DAMAGE.search(message) or not os.access(path, os.R_OK if read_only else os.R_OK | os.W_OK):
                raise StoreError(f"{path}: {message}") from error
            if not _LOCKED.search(message):
                raise DamagedError(message) from error
            if time.monotonic() >= give_up_at:
                holder = _PID.search(message)
                raise _in_use(path, holder[1] if holder else "unknown") from error
        time.sleep(0.1)


def _heal(path: Path, problem: str) -> Opened:
    """Set the file aside and put its copy in its place: with the whole log, else with as much of the log as can be read.

    A kill at any point leaves the copy and the log, and the next start begins again.
    """
    copy_path = copy_path_of(path)
    try:
        _check(copy_path)
    except DamagedError as damage:
        raise StoreError(
            f"{path} {problem}, and there is no copy to restore it from ({copy_path.name}: {damage}); nothing was changed: "
            "restore a backup, or move it away to start anew"
        ) from damage
    broken = _free_name(path)
    aside = f"; to start anew, delete {copy_path.name} as well"
    if path.exists():
        path.replace(broken)
        aside = f"; the damaged file is kept as {broken.name}"
    copy_durably(copy_path, _new(path))
    _put(_new(path), path)
    again = "; what is missing is read again from the sources"
    # The log is emptied once a checkpoint is complete: where it is, and fits the copy, there is nothing else.
    how = "from its copy and log, nothing was lost" if log_path_of(path).exists() else f"from its copy{again}"
    try:
        connection = _open(path)
    except DamagedError as damage:
        how = f"{_salvage(path, broken)} ({damage}){again}"
        connection = _open(path)
    return Opened(connection, f"{path} {problem}: restored {how}{aside}")


def _salvage(path: Path, broken: Path) -> str:
    """Put in place the best base (the file without its log, else the copy) and the longest start of the log that can be read.

    A power failure can leave holes in the last, unfinished entry of the log, and DuckDB then refuses all of it.
    """
    new, log = _new(path), log_path_of(path)
    base = broken if _is_readable(broken) else copy_path_of(path)
    content = log.read_bytes() if log.exists() else b""
    copy_durably(base, new)
    good, bad = 0, len(content) + 1
    while bad - good > 1:
        length = (good + bad) // 2
        log_path_of(new).write_bytes(content[:length])
        good, bad = (length, bad) if _is_readable(new) else (good, length)
    log_path_of(new).write_bytes(content[:good])
    for suffix in ("", ".checkpoint", ".recovery"):
        with suppress(FileNotFoundError):
            Path(f"{log}{suffix}").replace(f"{log_path_of(broken)}{suffix}")
    _put(new, path)
    _put(log_path_of(new), log)
    return f"from {'itself' if base == broken else 'its copy'} and {good} of the {len(content)} bytes of its log"


def _is_readable(path: Path) -> bool:
    try:
        _check(path)
    except DamagedError:
        return False
    return True


def _in_use(path: Path, holder: str) -> StoreLockedError:
    return StoreLockedError(
        f"{path} is in use by process {holder}: stop that first, or name another file "
        "(to read while it runs: parcelwatch query)"
    )


def _new(path: Path) -> Path:
    return Path(f"{path}.new")


def _free_name(path: Path) -> Path:
    number = 1
    while Path(f"{path}.broken-{number}").exists() or Path(f"{path}.broken-{number}.wal").exists():
        number += 1
    return Path(f"{path}.broken-{number}")


def _put(new: Path, path: Path) -> None:
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def _one_line(error: duckdb.Error) -> str:
    return " ".join(str(error).split())
