"""Facts as numbers: the columns of each table in memory, and how what an event says becomes them."""

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from detectors import RULES
from pipeline.arrays import Ints, column, hash_of
from schemas.events import AftersaleAnswer, AftersaleKind
from schemas.frames import EVENTS

# Times are µs since 1970; where a column has `seconds` they are whole ones, rounded down: who is due too early is judged once more
# in vain. A digest of 32 bits is compared within one owner and moment only.

Times = npt.NDArray[np.int64]

NEVER: Final = np.iinfo(np.int64).max
"""A time that does not come (µs since 1970)."""
UNKNOWN: Final = np.iinfo(np.int64).min
"""No time given."""

KINDS: Final = ("order_paid", "order_cancelled", "address_changed")
CASE_KINDS: Final = (
    "aftersale_opened",
    "aftersale_answered",
    "return_waybill_uploaded",
    "return_received",
    "refunded",
    "aftersale_closed",
)
CASE_WORDS: Final = tuple(sorted(word.value for word in (*AftersaleKind, *AftersaleAnswer)))
"""What a case is of, and what it was answered."""
FLAG_STATUSES: Final = ("open", "cleared", "exempt", "at_risk", "averted")
"""`averted`: it was at risk, never violated, and is nothing any more."""
RULE_CODES: Final = tuple(RULES)

# Columns, by table.
ORDER_FACTS: Final = {
    "order": np.int32,
    "kind": np.uint8,
    "at": np.int64,
    "digest": np.uint32,
    "platform": np.int16,
    "merchant": np.int32,
    "ship_within_hours": np.int16,
    "category": np.int16,
    "place": np.int16,
    **dict.fromkeys(("name", "phone", "address"), np.uint32),
}
_PERIOD: Final = {"rules": np.uint64, **dict.fromkeys(("extended_to", "applies_from", "applies_until"), np.int64)}
OWN_EXEMPTIONS: Final = {"order": np.int32, "at": np.int64, "digest": np.uint32, **_PERIOD}
UPLOADS: Final = {"order": np.int32, "waybill": np.int32, "case": np.int32, "at": np.int64, "digest": np.uint32}
SCANS: Final = {"at": np.int64, "status": np.uint8, "place": np.int16, "digest": np.uint32}
REPLACEMENTS: Final = {
    "waybill": np.int32,
    "new": np.int32,
    "at": np.int64,
    "correction": np.bool_,
    "place": np.int32,
    "digest": np.uint32,
}
CASE_FACTS: Final = {
    "order": np.int32,
    "case": np.int32,
    "kind": np.uint8,
    "word": np.uint8,
    "at": np.int64,
    "digest": np.uint32,
}
EXEMPTIONS: Final = {
    "platform": np.int32,
    "merchant": np.int32,
    "division": np.int32,
    **_PERIOD,
    "digest": np.uint64,
}
FLAGS: Final = {
    "order": np.int32,
    "waybill": np.int32,
    "case": np.int32,
    "rule": np.uint8,
    "status": np.uint8,
    "violated_at": np.int64,
    "detected_at": np.int64,
    "evidence": np.uint64,
}
_SECOND: Final = 1_000_000
SECONDS_NEVER: Final = np.iinfo(np.uint32).max
"""`NEVER`, in seconds."""


def evidence_digest(evidence: pl.Series) -> npt.NDArray[np.uint64]:
    """Return what tells one evidence from another."""
    return evidence.hash(seed=3).to_numpy()


_SEEDS: Final = {name: seed for seed, name in enumerate(EVENTS)}


def digest_of(frame: pl.DataFrame) -> npt.NDArray[np.uint64]:
    """Return what tells one fact from another: everything but how and when it came."""
    content = {
        _SEEDS[name]: pl.col(name).list.join("\n") if dtype == pl.List else pl.col(name)
        for name, dtype in frame.schema.items()
        if name not in {"event_id", "received_at", "division"}
    }
    return frame.select(hash_of(content)).to_series().to_numpy()


def micros(times: pl.Series) -> Times:
    """Return `times` as µs since 1970, `UNKNOWN` where there is none."""
    return times.to_numpy().view(np.int64)  # NumPy's "not a time" is `UNKNOWN`.


def time_column(name: str, times: Times) -> pl.Series:
    """Return µs since 1970 as a column of times, null where they are `UNKNOWN` or `NEVER`."""
    return column(name, times, (times != UNKNOWN) & (times != NEVER), pa.timestamp("us", "UTC"))


def to_micros(duration: timedelta) -> int:
    """Return whole µs."""
    return duration // timedelta(microseconds=1)


def since_epoch(time: datetime) -> int:
    """Return µs since 1970."""
    return to_micros(time - datetime(1970, 1, 1, tzinfo=UTC))


def code(values: pl.Series, names: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """Return the position of each value in `names`."""
    number = pl.first().cast(pl.Enum(names)).to_physical().cast(pl.UInt8)
    return values.to_frame().select(number).to_series().to_numpy()


def seconds(time: Times | int) -> npt.NDArray[np.uint32]:
    """Return whole seconds, as near to `time` (µs) as such a column holds."""
    return np.clip(np.floor_divide(time, _SECOND), 0, SECONDS_NEVER - 1).astype(np.uint32)


def mixed(owner: Ints, digest: npt.NDArray[np.uint32], at: Times) -> npt.NDArray[np.uint64]:
    """Return what tells facts of any owners and moments from each other."""
    fact = (owner.astype(np.uint64) << np.uint64(32)) | digest
    return fact ^ (at.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def hashes_or_0(texts: pl.DataFrame) -> dict[str, npt.NDArray[np.uint32]]:
    """Return what tells one text from another, by column; 0 where there is none."""
    hashes = texts.select(pl.when(pl.all().is_not_null()).then(pl.all().hash(seed=1)).otherwise(0))
    return {hashed.name: (hashed.to_numpy() >> np.uint64(32)).astype(np.uint32) for hashed in hashes}


def period(exemptions: pl.DataFrame) -> dict[str, npt.ArrayLike]:
    """Return what exemptions are about, and when."""
    times = {name: micros(exemptions[name]) for name in ("extended_to", "applies_from", "applies_until")}
    return {"rules": _rule_bits(exemptions["rules"]), **times}


def _rule_bits(rules: pl.Series) -> npt.NDArray[np.uint64]:
    """Return the rules named, a bit each; `*` is all of them, a code that is no rule is none."""
    named = pl.DataFrame({"rules": rules})
    bits = [
        pl.when(pl.col("rules").list.contains(code) | pl.col("rules").list.contains("*")).then(1 << at).otherwise(0)
        for at, code in enumerate(RULE_CODES)
    ]
    return named.select(bits=pl.sum_horizontal(bits).cast(pl.UInt64))["bits"].to_numpy()
