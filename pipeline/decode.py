"""From messages to columns: `Decoder` reads JSON in batches, and loses none.

The pydantic models of `schemas.events` are the judge of every message, but one by one they are ten times slower than columns. So
what certainly is valid is read in columns: messages of known shapes (`pipeline.shapes`), and rows of tables (`pipeline.tables`),
whose values are as plain as `pipeline.forms` asks. The rest goes to the models. Being too careful here costs time, never an event.
"""

import hashlib
from datetime import datetime
from typing import Any, Final, NamedTuple

import polars as pl
from pydantic import BaseModel

from pipeline.buffers import BUFFER_BYTES_MAX
from pipeline.formats import OUR_OWN, Formats
from pipeline.forms import HASHES, UNHASHED, checked, column_of, lay_out, unless_empty
from pipeline.privacy import discreet
from pipeline.shapes import Shapes
from pipeline.tables import GIVEN, vouched, with_values
from places.regions import region_code
from schemas.events import Event, ExemptionGranted, RejectedError
from schemas.frames import EVENTS, LETTERS

_VOUCHED_BYTES_MAX: Final = 65_536
_TEXTS: Final = ("detail", "place_text", "facility")
_PROSE: Final = ("description", "reason")
"""Texts in which people are named."""


def to_row(event: Event) -> dict[str, Any]:
    """Lay out an event as a row: the columns of `EVENTS`, except that `name` and `phone` are as given, not hashed.

    Raises:
        RejectedError: It is an exemption of a region that does not exist, or may be several.
    """
    row: dict[str, Any] = {}
    for field, value in event:
        row |= {column_of(name): part for name, part in value} if isinstance(value, BaseModel) else {field: value}
    if isinstance(event, ExemptionGranted) and event.order_id is None and event.region is not None:
        try:
            row["division"] = int(region_code(event.region))
        except ValueError as error:
            raise RejectedError(f"region: {error}") from None
    return row


# ---------------------------------------------------------------------------------------------------------------------
# What must not leave this room.
# ---------------------------------------------------------------------------------------------------------------------


def _normalised(texts: pl.Series) -> pl.Series:
    """Reduce names or numbers to what makes them the same: no white space, punctuation or full-width forms."""
    odd = texts.str.contains(_ODD).arg_true()
    if not len(odd):
        return texts
    plain = pl.col(texts.name).str.normalize("NFKC").str.replace_all(r"[^\p{L}\p{M}\p{N}]", "")
    return texts.clone().scatter(odd, texts.gather(odd).to_frame().select(unless_empty(plain)).to_series())


_ODD: Final = r"[^0-9\x{4e00}-\x{9fa5}]|^$"
"""What more is in a text than digits and Chinese characters: these stay what they are, and to look costs a tenth."""
_HMAC_BLOCK_BYTES: Final = 64


class _KeyedHash:
    """HMAC-SHA256, the first half of it, in hexadecimal: what the key decides is reckoned once, not for each text."""

    def __init__(self, key: bytes) -> None:
        key = hashlib.sha256(key).digest() if len(key) > _HMAC_BLOCK_BYTES else key
        pads = (bytes(byte ^ pad for byte in key.ljust(_HMAC_BLOCK_BYTES, b"\0")) for pad in (0x36, 0x5C))
        self._inner, self._outer = map(hashlib.sha256, pads)

    def __call__(self, text: str) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        return outer.hexdigest()[:32]


_ROW: Final = pl.get_index_type()


class Decoded(NamedTuple):
    """A batch, read. Every record has told events, or tells nothing, or is a letter, unless it was left out as received too late.

    Attributes:
        events: Valid events, `EVENTS`. A carrier's payload tells many.
        letters: What cannot be read, `LETTERS`. A payload that can be read in part is a letter, with events all the same: the
            letter keeps the rest of it.
        records: The batch as it came, `RECORDS`.
        rows: Of each event, which row of `records` told it.
    """

    events: pl.DataFrame
    letters: pl.DataFrame
    records: pl.DataFrame
    rows: pl.Series


class Decoder:
    """Reads batches of records. For one thread at a time.

    Args:
        hash_key: The secret that keeps hashed names and phones from being guessed.
        formats: What each source was declared as; without it, all hold events of our own.

    Attributes:
        handed_over: Records so far that columns could not vouch for, so that they were judged one by one.
        silent: Records so far that are valid and tell nothing: pushes with an empty history.
    """

    def __init__(self, hash_key: bytes, formats: Formats = OUR_OWN) -> None:
        self.handed_over = self.silent = 0
        self._formats = formats
        self._shapes = Shapes(lay_out)
        self._keyed_hash = _KeyedHash(hash_key)

    def decode(self, records: pl.DataFrame, until: datetime | None = None) -> Decoded:
        """Read a batch.

        Args:
            records: `RECORDS`. A null value is an empty message, unless there is a column `GIVEN`.
            until: Leave out events received later than this (aware).
        """
        records = records.with_row_index("row")
        own, foreign = self._formats.separated(records)
        fast = self._vouched(own)
        rest = foreign if len(fast) == len(own) else pl.concat([own.join(fast, on="row", how="anti"), foreign])
        told = _judged(with_values(rest), self._formats) if len(rest) else _NOTHING_TOLD
        self.handed_over += len(rest) - len(foreign)
        self.silent += told.silent
        assert len(fast) + len(told.telling) + len(told.letters) + told.silent == len(records)
        # Mostly the columns have read everything: then nothing is copied.
        events = self._discreet(
            pl.concat([frame for frame in (fast, told.events) if len(frame)] or [fast], rechunk=True)
        )
        if until is not None:
            events = events.filter(pl.col("received_at") <= until)
        return Decoded(events.drop("row"), told.letters, records.drop("row"), events["row"])

    def _vouched(self, records: pl.DataFrame) -> pl.DataFrame:
        """Read in columns what certainly is valid: `row` and `UNHASHED`."""
        if GIVEN in records.columns:
            return vouched(records)
        frames = [_NO_EVENTS]
        for part in _parts(_texts(records.filter(pl.col("value").bin.size() <= _VOUCHED_BYTES_MAX))):
            cut = self._shapes.cut(part["text"])
            frames.append(checked(part.select("row", "recorded_at")[cut.rows].hstack(cut.columns)))
        return pl.concat([frame for frame in frames if len(frame)] or frames[:1])

    def _discreet(self, events: pl.DataFrame) -> pl.DataFrame:
        """Hash names and phones, and hide both in free text: `row` and `UNHASHED` to `row` and `EVENTS`."""
        found = {name: self._hashed(events[given]) for name, given in HASHES.items()}
        for names, prose in ((_TEXTS, False), (_PROSE, True)):
            found |= zip(names, discreet([events[name] for name in names], prose=prose), strict=True)
        return events.select("row", **{name: found.get(name, pl.col(name)) for name in EVENTS})

    def _hashed(self, texts: pl.Series) -> pl.Series:
        """Hash names or numbers; those of which nothing is left when they are normalised are null."""
        given = texts.is_not_null()
        hashed = pl.repeat(None, len(texts), dtype=pl.String(), eager=True)
        if not given.any():
            return hashed
        people = _normalised(texts.filter(given)).to_list()
        hashes = {None: None} | {each: self._keyed_hash(each) for each in {*people} - {None}}
        return hashed.scatter(given.arg_true(), pl.Series([hashes[each] for each in people], dtype=pl.String))


def _parts(texts: pl.DataFrame) -> list[pl.DataFrame]:
    """Part messages so that each part has room in a buffer."""
    ends = texts["text"].str.len_bytes().cum_sum()
    if not len(ends) or ends[-1] < BUFFER_BYTES_MAX:
        return [texts] if len(texts) else []
    return texts.with_columns(part=ends // BUFFER_BYTES_MAX).partition_by("part", include_key=False)


def _texts(records: pl.DataFrame) -> pl.DataFrame:
    """Give the `value` of those records that are UTF-8 as `text`."""
    text = pl.col("value").cast(pl.String).alias("text")
    try:
        return records.select("row", "recorded_at", text)
    except pl.exceptions.ComputeError:  # it says neither how many nor which
        utf8 = pl.Series([_is_utf8(value) for value in records["value"]], dtype=pl.Boolean)
        return records.filter(utf8).select("row", "recorded_at", text)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Told(NamedTuple):
    """What models say of records.

    Attributes:
        events: `row` and columns of `UNHASHED`.
        letters: `LETTERS`, each of another record.
        telling: The rows of the records that tell events and are no letters.
        silent: How many records tell nothing.
    """

    events: pl.DataFrame
    letters: pl.DataFrame
    telling: list[int]
    silent: int


_NO_EVENTS: Final = pl.DataFrame(schema={"row": _ROW, **UNHASHED})
_NOTHING_TOLD: Final = _Told(_NO_EVENTS, pl.DataFrame(schema=LETTERS), [], 0)


def _judged(records: pl.DataFrame, formats: Formats) -> _Told:
    """Let the models judge records one by one."""
    events: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    telling: list[int] = []
    for row, value, recorded_at, source in records.select("row", "value", "recorded_at", "source").iter_rows():
        try:
            reading = formats.read(source, value or b"", recorded_at)
            rows = [to_row(event) | {"row": row} for event in reading.events]
        except RejectedError as error:
            errors.append({"row": row, "error": str(error)})
            continue
        events += rows
        if reading.complaint:
            errors.append({"row": row, "error": reading.complaint})
        elif reading.events:
            telling.append(row)
    rejected = pl.DataFrame(errors, schema={"row": _ROW, "error": pl.String})
    letters = rejected.join(records, on="row", maintain_order="left").with_columns(raw=pl.col("value").fill_null(b""))
    silent = len(records) - len(errors) - len(telling)
    return _Told(
        pl.DataFrame(events, schema={"row": _ROW, **UNHASHED}), letters.select(LETTERS.names()), telling, silent
    )
