"""Asks the rules about views: which flags hold of some orders by their facts and the clock."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from detectors import RULES, DeadlineRule, Given, Rule, View, deadline_of
from detectors._profiles import Profiles
from pipeline.arrays import NONE, Keys
from pipeline.condense import Views
from pipeline.facts import NEVER
from schemas.frames import TIME

_KEYS: Final = ("order", "waybill")


class Verdicts(NamedTuple):
    """What holds of the orders asked about."""

    flags: pl.DataFrame
    """`order`, `waybill` (`NONE` for rules about orders), `rule` (position), `violated_at` (null: no violation), `exempt`,
    `evidence`, `platform`, `merchant`, `clause`, `cancelled_at`, `extended_to`. A row per violation, and per known flag."""
    due: pl.DataFrame
    """`order` and `due`: when the clock alone may change a flag (µs), `NEVER` if it cannot."""


class Judge:
    """The rules, with the limits of every platform."""

    def __init__(self, profiles: Profiles) -> None:
        self._platforms = pl.DataFrame({"platform": [profile.platform for profile in profiles.every]})
        self._settings = {code: [profile.settings(code) for profile in profiles.every] for code in RULES}

    def verdicts(self, views: Views, platforms: Keys, as_of: int | None, known: pl.DataFrame) -> Verdicts:
        """Judge `views` at the clock `as_of` (µs), and show the present evidence of the flags in `known` as well.

        `platforms` gives the ids of platforms in the views; `known` has `order`, `waybill` and `rule`.
        """
        ids = platforms.find(self._platforms)
        profile = pl.col("platform").replace_strict(
            ids[ids >= 0], np.flatnonzero(ids >= 0), default=0, return_dtype=pl.Int64
        )
        clock = pl.lit(as_of, pl.Int64).cast(TIME)
        flags, due = [], [views.order.select("order", due=pl.lit(NEVER))]
        for view in View:
            frame: pl.DataFrame = getattr(views, view).with_columns(profile=profile)
            rules = {code: rule for code, rule in RULES.items() if rule.view is view}
            frame, given = self._asked(frame, rules, views.exemptions, clock)
            waiting = pl.min_horizontal(pl.col(_due(code)) for code in rules).to_physical().fill_null(NEVER)
            due.append(frame.select("order", due=waiting))
            if view is View.ORDER:
                frame = frame.with_columns(waybill=pl.lit(NONE, pl.Int32))
            # Most rows are in order: the rest of the work is about the few that are not, or were not.
            violated = frame.filter(pl.any_horizontal(pl.col(code).is_not_null() for code in rules))
            present = frame.join(known, on=_KEYS, how="semi") if len(known) else frame.clear()
            for nth, code in enumerate(RULES):
                if code in rules:
                    asked = present.filter(pl.col(code).is_null()).join(known.filter(rule=nth), on=_KEYS, how="semi")
                    rows = pl.concat([violated.filter(pl.col(code).is_not_null()), asked])
                    flags.append(self._flags(rows, code, given[code]))
        return Verdicts(pl.concat(flags), pl.concat(due).group_by("order").agg(pl.col("due").min()))

    def _asked(
        self, frame: pl.DataFrame, rules: dict[str, Rule], exemptions: pl.DataFrame, clock: pl.Expr
    ) -> tuple[pl.DataFrame, dict[str, Given]]:
        """Return `frame` with each rule's answers, and what each rule was given."""
        given: dict[str, Given] = {}
        for code in rules:
            frame, extended_to = _with_exemptions(frame, code, exemptions)
            given[code] = Given(self._per_profile(code, "limit"), extended_to, clock)
        frame = frame.with_columns(
            rule.deadline(given[code]).alias(deadline_of(code))
            for code, rule in rules.items()
            if isinstance(rule, DeadlineRule) and rule.after is None
        )
        answers: list[pl.Expr] = []
        for code, rule in rules.items():
            enabled = self._per_profile(code, "enabled")
            answers.append(pl.when(enabled).then(rule.violated_at(given[code])).cast(TIME).alias(code))
            answers.append(pl.when(enabled).then(rule.due_at(given[code])).cast(TIME).alias(_due(code)))
        return frame.with_columns(answers), given

    def _flags(self, rows: pl.DataFrame, code: str, given: Given) -> pl.DataFrame:
        rule = RULES[code]
        if rule.view is View.PICKUP:
            evidence = [name for name in rows.columns if name.startswith("pickup_")]
            rows = rows.sort(*_KEYS, code, *evidence, nulls_last=True).unique(_KEYS, keep="first", maintain_order=True)
        return rows.select(
            *_KEYS,
            rule=pl.lit(list(RULES).index(code), pl.UInt8),
            violated_at=pl.col(code),
            exempt=pl.col(_exempt(code)),
            evidence=_as_json(rule.evidence(given), rows),
            platform="platform",
            merchant="merchant",
            clause=self._per_profile(code, "clause"),
            cancelled_at="cancelled_at",
            extended_to=given.extended_to,
        )

    def _per_profile(self, code: str, what: str) -> pl.Expr:
        """Return what the row's profile says of the rule `code`: its `limit`, whether it is `enabled`, or its `clause`."""
        settings = self._settings[code]
        if what == "limit":
            values = pl.Series([timedelta(hours=one.limit_hours or 0) for one in settings], dtype=pl.Duration("us"))
        else:
            values = pl.Series([getattr(one, what) for one in settings])
        if values.n_unique() == 1:
            return pl.lit(values[0], values.dtype)
        return pl.col("profile").replace_strict(range(len(values)), values, return_dtype=values.dtype)


def _with_exemptions(frame: pl.DataFrame, code: str, exemptions: pl.DataFrame) -> tuple[pl.DataFrame, pl.Expr]:
    """Add whether the rule `code` is exempt, and return to when its deadlines are moved."""
    bit = 1 << list(RULES).index(code)
    of_rule = exemptions.filter((pl.col("rules") & pl.lit(bit, pl.UInt64)) != 0) if len(exemptions) else exemptions
    if not len(of_rule):
        return frame.with_columns(pl.lit(value=False).alias(_exempt(code))), pl.lit(None, TIME)
    extended = f"{code}!extended_to"
    by_order = of_rule.group_by("order").agg(
        pl.col("extended_to").is_null().any().alias(_exempt(code)), pl.col("extended_to").max().alias(extended)
    )
    frame = frame.join(by_order, on="order", how="left").with_columns(pl.col(_exempt(code)).fill_null(value=False))
    return frame, pl.col(extended)


def _exempt(code: str) -> str:
    return f"{code}!exempt"


def _due(code: str) -> str:
    return f"{code}!due_at"


def _as_json(evidence: Mapping[str, pl.Expr], rows: pl.DataFrame) -> pl.Series:
    """Return one JSON object per row; times are RFC 3339 in UTC, null is what is not known."""
    shown = rows.select(**evidence)
    times = [
        pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") if isinstance(dtype, pl.Datetime) else pl.col(name)
        for name, dtype in shown.schema.items()
    ]
    return shown.select(pl.struct(times).struct.json_encode().alias("evidence"))["evidence"]
