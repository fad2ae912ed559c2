"""Texts of carriers with what they mean, by hand, and how well the phrase table reads them."""

import csv
import json
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from schemas.carriers._tables import shipped

HERE = Path(__file__).parent
SHARED = HERE.parents[3] / "shared" / "data"
"""Real data, beside the project; whether it is there or not."""

STATUSES = {
    "i": "info_received", "p": "picked_up", "t": "in_transit", "a": "arrived_at_facility", "d": "departed_facility",
    "c": "customs", "o": "out_for_delivery", "v": "available_for_pickup", "D": "delivered", "f": "delivery_failed",
    "x": "exception", "r": "returning", "R": "returned", "w": "forwarded", "z": "cancelled", "n": "no_scan",
}  # fmt: skip

Labelled = tuple[str, str]
"""A text and what it means."""


def made_up() -> list[Labelled]:
    """Phrases of our own making, as carriers write."""
    lines = (HERE / "phrases.tsv").read_text("utf-8").splitlines()
    return [(text, status) for status, text in (line.split("\t") for line in lines)]


def real() -> list[Labelled]:
    """The texts of the real histories that are labelled, or nothing where they are not there."""
    labels = tomllib.loads((HERE / "labels.toml").read_text("utf-8"))
    found: list[Labelled] = []
    for name, letters in labels["payloads"].items():
        path = SHARED / "payloads" / name
        if path.exists():
            texts = list(texts_in(json.loads(path.read_text("utf-8"))))
            found += zip(texts, [STATUSES[letter] for letter in letters], strict=True)
    trajectories = SHARED / "address" / "trajectories.tsv"
    if trajectories.exists():
        with trajectories.open(encoding="utf-8", newline="") as file:
            texts_by_id = {
                int(row["id"]): row["text"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            }
        found += [(texts_by_id[id_], status) for status, ids in labels["trajectories"].items() for id_ in ids]
    return found


def texts_in(node: Any) -> Iterator[str]:
    """Everything that a payload says about scans in prose."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key.lower() in {"context", "acceptstation", "remark"} and isinstance(value, str) and value:
                yield value
            else:
                yield from texts_in(value)
    elif isinstance(node, list):
        for item in node:
            yield from texts_in(item)


class Score(NamedTuple):
    """How well one status is recognised."""

    texts: int
    precision: float
    recall: float


def scores(
    labelled: Iterable[Labelled], meaning: Callable[[str], str | None] = lambda text: shipped().meaning(text)
) -> dict[str, Score]:
    """Precision and recall of each status, those with the most texts first. An unknown text counts as `in_transit`."""
    pairs = Counter((status, str(meaning(text) or "in_transit")) for text, status in labelled)
    wanted, got = Counter[str](), Counter[str]()
    for (status, said), count in pairs.items():
        wanted[status] += count
        got[said] += count
    return {
        status: Score(count, pairs[status, status] / (got[status] or 1), pairs[status, status] / count)
        for status, count in wanted.most_common()
    }
