"""Files that are one JSON document over several lines: a payload as somebody saved it, or a list of payloads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl
from crc32c import crc32c
from pydantic_core import from_json, to_json

from pipeline.files import BATCH_RECORDS_MAX, LINE_BYTES_MAX, FileBatch, FileReader, FileSourceError, open_readers
from pipeline.store import Offset
from schemas.frames import RECORDS

_SUFFIX: Final = ".json"


class DocumentReader(FileReader):
    """The payloads of a document: the items of the list that it is, numbered from 0, or itself as number 0."""

    def __init__(self, name: str, data: bytes, document: object) -> None:
        super().__init__(name, len(data))
        self._values = [to_json(item) for item in document] if isinstance(document, list) else [data]
        self._checksum = crc32c(data)
        self._done = False

    def read(self) -> FileBatch | None:
        """See `FileReader.read`."""
        end = Offset(len(self._values), self._checksum)
        if self._resume_at is not None:
            self._done = self._resume_at == end
            self.changed = not self._done
            self._resume_at = None
        if self._done:
            return None
        self._done, self.bytes_read = True, self.size
        records = pl.DataFrame(
            {"value": self._values, "source": self.name, "position": range(len(self._values)), "recorded_at": None},
            schema=RECORDS,
        )
        return FileBatch(records, end)

    def close(self) -> None:
        """See `FileReader.close`."""


def open_files(paths: Sequence[str | Path], batch_records_max: int = BATCH_RECORDS_MAX) -> list[FileReader]:
    """Return readers as `open_readers` does, where a file is a document one for that.

    Raises:
        FileSourceError: See there.
    """
    return [_document(reader) or reader for reader in open_readers(paths, batch_records_max)]


def _document(reader: FileReader) -> DocumentReader | None:
    """The reader of a document, if the file is one. Lines of which the first is JSON by itself are none."""
    path = Path(reader.name)
    if path.suffix.lower() != _SUFFIX or reader.size > LINE_BYTES_MAX:
        return None
    try:
        with path.open("rb") as file:
            first = file.readline()
            if _parsed(first) is not None:
                return None
            data = first + file.read()
    except OSError as error:
        raise FileSourceError(f"{path}: {error.strerror or error}; check the path and its permissions") from error
    document = _parsed(data)
    if not isinstance(document, dict | list):
        return None
    reader.close()
    return DocumentReader(reader.name, data, document)


def _parsed(data: bytes) -> object | None:
    try:
        value: object = from_json(data)
    except ValueError:
        return None
    return value
