"""The facts in memory, written to a file now and then, so that a start need not read and judge everything again.

The database is the truth; this file is a shortcut, and is only taken when all of it is certain: the database itself names the file
(so another database, or one restored from an older copy, has no use for it), its checksums hold, and the same code made it.
What was committed after it was written is read from the database. Without it a start rebuilds memory from all facts.

While the service runs, a forked child writes the file: it sees memory as it was at the moment of the fork, and the stream goes on.
"""

import json
import logging
import os
import secrets
import signal
import time
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from pipeline.copying import sync_folder
from pipeline.facts import Facts
from pipeline.store import Store

_PACKAGES: Final = ("detectors", "pipeline", "places", "schemas")
_ROWS_MIN: Final = 1_000_000
"""With less in memory, a start without the file takes a few seconds."""
_ABOUT: Final = "about"

log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """What was in memory, and as of when."""

    facts: Facts
    """Without flags."""
    appended: Mapping[str, int]
    """How many rows each table of facts had ever been given."""
    judged_by: str
    rows_to_sweep_at: int


class Held(NamedTuple):
    """What is in memory, with all that its file has to say of it."""

    facts: Facts
    judged_by: str
    """What tells one set of rules from another."""
    rows_to_sweep_at: int
    sweeps: int
    """How often subjects have left memory."""


class MemoryFile:
    """The file beside one database, `<stem>.memory-<token>.npz`. Not for several threads.

    Args:
        store: The database.
        every_seconds: How often the file is renewed while the service runs.

    Attributes:
        sweeps: How often subjects had left memory when the file was written.
    """

    def __init__(self, store: Store, every_seconds: float) -> None:
        self._store = store
        self._every_seconds = every_seconds
        self._due_at = time.monotonic() + every_seconds
        self._child: tuple[int, str, int] | None = None
        """Its number, what it writes, and as of how many sweeps."""
        self.sweeps = 0
        self._written: Mapping[str, int] | None = None
        """What had been appended when the file was written; None: there is none."""

    def load(self) -> Kept | None:
        """Return what the file holds; None where there is none that is of use, and then it is removed."""
        token = self._store.memory
        self._remove_others(token)
        if token is None:
            return None
        try:
            return self._read(self._path(token))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            log.info("%s is of no use (%s): reading all facts instead", self._path(token).name, error)
        self._remove_others(None)
        return None

    def renew(self) -> None:
        """Let the file be written anew soon, if there is one: a fork costs, since whatever is then changed is copied first."""
        if self._written is not None:
            self._due_at = 0.0

    def tend(self, held: Held) -> None:
        """Begin to write the file if that is due; call it between batches, when everything in memory is committed."""
        self._settle(os.WNOHANG)
        if self._child is not None or time.monotonic() < self._due_at or not hasattr(os, "fork"):
            return
        self._due_at = time.monotonic() + self._every_seconds
        if not self._is_worth_it(held):
            return
        self._remove_others(self._store.memory)
        token, content = secrets.token_hex(8), self._content(held)
        with warnings.catch_warnings():
            # Of threads that hold locks: the child takes none but those that a fork takes care of.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            self._write_and_exit(token, content)
        self._child = child, token, held.sweeps

    def close(self, held: Held) -> None:
        """Write the file once more, so that the next start has nothing left to read."""
        self._settle(0)
        if self._is_worth_it(held):
            token = secrets.token_hex(8)
            try:
                self._write(token, self._content(held))
            except OSError as error:
                log.warning("%s could not be written (%s): the next start reads all facts", self._path(token), error)
                self._path(token).unlink(missing_ok=True)
            else:
                self._take(token, held.sweeps)
                self._store.settle()
        self._remove_others(self._store.memory)

    def _is_worth_it(self, held: Held) -> bool:
        self._store.settle()
        has_news = self._store.memory is None or self._store.appended != self._written
        return held.facts.rows() >= _ROWS_MIN and has_news

    def _content(self, held: Held) -> dict[str, np.ndarray[Any, Any]]:
        tables = held.facts.tables()
        content = {f"{name}.{column}": table[column] for name, table in tables.items() for column in table.names}
        self._written = dict(self._store.appended)
        about = {
            "made_by": _made_by(),
            "judged_by": held.judged_by,
            "appended": self._written,
            "rows_to_sweep_at": held.rows_to_sweep_at,
        }
        content[_ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        return content

    def _read(self, path: Path) -> Kept:
        with path.open("rb") as file, np.load(file) as content:
            about = json.loads(content[_ABOUT].tobytes())
            if about["made_by"] != _made_by():
                raise ValueError("another version of parcelwatch wrote it")
            ahead = [table for table, rows in about["appended"].items() if rows > self._store.appended[table]]
            if ahead:
                raise ValueError(f"it knows more of {', '.join(ahead)} than the database")
            facts = Facts()
            for name, table in facts.tables().items():
                table.fill({column: content[f"{name}.{column}"] for column in table.names})
            facts.places.settle()
        self._written = about["appended"]
        return Kept(facts, about["appended"], about["judged_by"], about["rows_to_sweep_at"])

    def _write_and_exit(self, token: str, content: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Be the child: touch nothing but the file, and never return."""
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            # The database's lock among them: if the service is killed now, the next one must get it.
            os.closerange(3, os.sysconf("SC_OPEN_MAX") if hasattr(os, "sysconf") else 1024)
            self._write(token, content)
            status = 0
        finally:
            os._exit(status)

    def _write(self, token: str, content: Mapping[str, np.ndarray[Any, Any]]) -> None:
        path = self._path(token)
        with path.open("wb") as file:
            np.savez(file, **content)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)

    def _settle(self, how: int) -> None:
        """Take the file that a child has written; with `how` 0, wait for it."""
        if self._child is None:
            return
        child, token, sweeps = self._child
        ended, status = os.waitpid(child, how)
        if not ended:
            return
        self._child = None
        if status == 0:
            self._take(token, sweeps)
        else:
            log.warning("%s could not be written: a start would read all facts since the last one", self._path(token))
            self._path(token).unlink(missing_ok=True)
            self._written = None

    def _take(self, token: str, sweeps: int) -> None:
        """Go on with this file. The one before it goes once the database is sure to know of this one."""
        self.sweeps = sweeps
        self._store.remember_memory(token)

    def _remove_others(self, token: str | None) -> None:
        for path in self._store.path.parent.glob(f"{self._store.path.stem}.memory-*.npz"):
            if token is None or path != self._path(token):
                with suppress(FileNotFoundError):
                    path.unlink()

    def _path(self, token: str) -> Path:
        return self._store.path.with_name(f"{self._store.path.stem}.memory-{token}.npz")


@cache
def _made_by() -> str:
    """Return what tells one version of the code, tables and hashes from another."""
    digest = blake2b(f"{pl.__version__} {np.__version__}".encode(), digest_size=16)
    for package in _PACKAGES:
        root = Path(str(files(package)))
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(root)}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()
