"""Asks the rules about views: which flags hold of some orders by their facts and the clock."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from detectors import RULES, DeadlineRule, Given, Rule, View, deadline_of
from detectors._facts import COMPARED
from detectors._profiles import Edition, Profiles, RuleSettings
from pipeline.arrays import NONE, Bools, Ints, Keys, begins, column, distinct, pairs, rows_of
from pipeline.comparing import Comparisons
from pipeline.condense import LATE, LATE_OF_PICKUP, Views, told
from pipeline.facts import Facts
from pipeline.packing import NEVER, UNKNOWN, Times, micros, since_epoch, time_column, to_micros
from schemas.frames import FLAG_LOG, TIME

PICKUP_RULES: Final = tuple(nth for nth, rule in enumerate(RULES.values()) if rule.view is View.PICKUP)
"""The positions of the rules that are asked of pickups."""
_NTH: Final = {code: nth for nth, code in enumerate(RULES)}
_KEY: Final = {View.SHIPMENT: "waybill", View.PICKUP: "waybill", View.AFTERSALE: "case"}
"""What a flag is about, besides its order."""
_OF_ROW: Final = ("order", "platform", "merchant", "edition")
_NEVER_EXTENDED: Final = pl.lit(None, TIME)
_SAID: Final = ("clause", "severity", "compensation_percent", "compensation_yuan")


class Flags(NamedTuple):
    """A row per violation, per obligation at risk, and per known flag: columns of one length."""

    order: Ints
    waybill: Ints
    """`NONE`, as `case`, where it is not about one."""
    case: Ints
    rule: Ints
    """Its position."""
    known: Ints
    """Which row it is of the flags in memory, `NONE` if it is not among them."""
    violated_at: Times
    """Of an obligation at risk: its deadline; `UNKNOWN`: neither."""
    at_risk: Bools
    exempt: Bools
    edition: Ints
    """Which edition of its platform's profile it was judged by, for `Judge.said`."""
    platform: Ints
    merchant: Ints
    judged: Bools
    """Whether the rule is asked at all; with when the order was lifted, and its deadline moved to, what a reason may be made of."""
    lifted_at: Times
    extended_to: Times
    evidence: pl.Series

    def of(self, rows: Ints) -> "Flags":
        """Return some rows."""
        part: Any = [column[rows] for column in self]
        return Flags(*part)


class Verdicts(NamedTuple):
    """What holds of the orders asked about."""

    flags: Flags
    due: Times
    """When the clock alone may change a flag (µs), `NEVER` if it cannot; by the rows of the view of orders."""


class _Step(NamedTuple):
    """Rules of which none counts on the deadline of another."""

    moments: Mapping[str, pl.Expr]
    """By rule, what an exemption's period is compared with: what was due, or else violated, in it."""
    columns: Sequence[str]
    """What the moments are made of, and `order`."""
    deadlines: Sequence[pl.Expr]


class _Questions(NamedTuple):
    """What the rules of a view ask, as expressions: made once, for that takes longer than to ask them of a small batch."""

    steps: Sequence[_Step]
    answers: Sequence[pl.Expr]
    """The time of each rule's violation, then when the clock may change each rule's answer."""


class _Shown(NamedTuple):
    """The evidence of a rule, as JSON, and what it is made of."""

    columns: Sequence[str]
    """Of the view, and `order`."""
    late: Sequence[str]
    """What is known by number only, see `told`."""
    evidence: pl.Expr


class _Said(NamedTuple):
    """What the profiles say of the rules of a view, by rule and edition."""

    enabled: Bools
    ordinary: Bools
    """By rule: whether it is only about orders without shipping times of their category."""
    limits: Mapping[str, Times]
    """By rule, then by edition, where editions differ."""


class _Granted(NamedTuple):
    """A row for each exemption of each row under any."""

    nth: Ints
    """Which of the rows under any, and which of all."""
    row: Ints
    rules: npt.NDArray[np.uint64]
    since: Times
    until: Times
    to: Times


class _Answers(NamedTuple):
    """What the rules of a view answer: arrays by rule, then by row."""

    at: Times
    """Of the violation, or of the deadline that is near; `UNKNOWN`: neither."""
    near: Bools
    exempt: Bools
    extended_to: Times
    judged: Bools
    due: Times
    """By row: when to look again."""

    def of(self, rows: Ints) -> "_Answers":
        """Return the answers of some rows."""
        part: Any = [answer[..., rows] for answer in self]
        return _Answers(*part)


class Judge:
    """The rules, with the limits of every platform, version and promotion.

    Args:
        profiles: The platforms.
        warn: How long before their deadlines obligations are at risk; None: they never are.
    """

    def __init__(self, profiles: Profiles, warn: timedelta | None = None) -> None:
        self._warn = None if warn is None else to_micros(warn)
        self._profiles = profiles
        self._editions = profiles.editions()
        self._first = {edition.platform: at for at, edition in reversed(list(enumerate(self._editions)))}
        said = (edition.shipping_categories for edition in self._editions)
        excluded = (profile.excluded_categories for profile in profiles.every)
        self._categories = sorted({name for names in (*said, *excluded) for name in names})
        self._by_category = self._said_of_categories()
        self._promoted = np.array([edition.promotes_shipping for edition in self._editions])
        self._said_of_flags = self._said_of_rules()
        self._rules = {view: [code for code, rule in RULES.items() if rule.view is view] for view in View}
        self._said = {view: self._said_in(view) for view in View}
        self._questions = {
            (view, exempted): self._asked(view, exempted=exempted) for view in View for exempted in (False, True)
        }
        self._late = {view: self._asked_late(view) for view in View}
        """What is known by number and some rule of a view asks for, for more than its evidence."""
        self._shown: dict[tuple[str, bool], _Shown] = {}
        """What a flag of each rule says, without and with exemptions; known when there is the first."""
        self._comparisons = Comparisons()
        self._ids: dict[str, tuple[Keys, int, Ints]] = {}
        """By what they are of: the keys that were looked in, how many there were, and what was found."""

    def verdicts(self, views: Views, facts: Facts, as_of: int | None, known: Ints) -> Verdicts:
        """Judge `views` at the clock `as_of` (µs), and show the present evidence of known flags as well.

        `facts` gives the names behind the ids in the views; `known` are the rows of these orders' flags in it.
        """
        orders = views.order["order"].to_numpy()
        at_order = np.empty(len(facts.orders), np.int32)
        at_order[orders] = np.arange(len(orders), dtype=np.int32)
        exempted, flagged = np.zeros((2, len(orders)), np.bool_)
        exempted[at_order[views.exemptions["order"].to_numpy()]] = True
        flagged[at_order[facts.flags["order"][known]]] = True
        editions, categories = self._editions_of(facts), self._categories_of(facts)
        flags, shown, due = list[Flags](), list[pl.LazyFrame](), np.full(len(orders), NEVER, np.int64)
        for view in View:
            rows: pl.DataFrame = getattr(views, view)
            if not len(rows):
                continue
            owner = at_order[rows["order"].to_numpy()]
            late = self._late[view]
            rows = rows.hstack([*told(rows, facts, late), *self._compared(rows, facts)])
            rows, judged = self._by_profile(rows, view, editions, categories)
            under = np.flatnonzero(exempted[owner]).astype(np.int32)
            rows, answers = self._ask(rows, view, judged, as_of, under, views.exemptions)
            np.minimum.at(due, owner, answers.due)
            # Most rows are in order: the rest of the work is about the few that are not, or were not.
            few = np.flatnonzero((answers.at != UNKNOWN).any(axis=0) | flagged[owner]).astype(np.int32)
            if few.size:
                found, evidence = self._flags(rows, few, view, answers.of(few), facts, known)
                flags.append(found)
                shown += evidence
        return Verdicts(_together(flags, shown), due)

    def said(self, flags: Flags) -> pl.DataFrame:
        """Return what the profiles say of each flag: `clause`, `severity`, and the compensations."""
        return self._said_of_flags[flags.rule * len(self._editions) + flags.edition]

    # What the profile says of each row

    def within_origin(self, facts: Facts) -> Bools:
        """Return whether on a platform (by id) a transfer counts only in the province that the parcel started from.

        The last is for orders whose platform is not known.
        """
        bound = np.array(
            [self._profiles.of(edition.platform).transfers == "origin_province" for edition in self._editions]
        )
        return bound[self._editions_of(facts)]

    def _editions_of(self, facts: Facts) -> Ints:
        """Return the position of each platform's first edition, by id, and last that of orders without a platform."""
        names = list(self._first)
        ids = self._ids_of(facts.platforms, names)
        first = np.full(len(facts.platforms) + 1, self._first[self._profiles.every[0].platform], np.int32)
        for name, at in zip(names, ids.tolist(), strict=True):
            if at >= 0:
                first[at] = self._first[name]
        return first

    def _ids_of(self, keys: Keys, names: Sequence[str]) -> Ints:
        """Return the ids of `names`, which are looked for only when there are more keys than the last time."""
        (column,) = keys.schema
        known, count, ids = self._ids.get(column, (None, 0, _NO_IDS))
        if known is not keys or count != len(keys):
            ids = keys.find(pl.DataFrame({column: names}, schema=keys.schema))
            self._ids[column] = keys, len(keys), ids
        return ids

    def _said_of_categories(self) -> npt.NDArray[np.int32]:
        """Return three rows: what each edition says of each category, and last of all others, edition by edition.

        Whether it is excluded, its hours and the most hours that an order may promise, `NONE` where that is not said.
        """
        rows = []
        for edition in self._editions:
            excluded = self._profiles.of(edition.platform).excluded_categories
            for name in (*self._categories, None):
                said = edition.shipping_categories.get(name) if name is not None else None
                hours, most = (said.hours, said.hours_max) if said is not None else (None, None)
                rows.append((name in excluded, NONE if hours is None else hours, NONE if most is None else most))
        return np.array(rows, np.int32).T

    def _said_of_rules(self) -> pl.DataFrame:
        """Return what a flag shows of its rule, rule by rule, and of each edition by edition."""
        said = [edition.rules[code] for code in RULES for edition in self._editions]
        texts = {name: [_text(getattr(one, name)) for one in said] for name in _SAID}
        return pl.DataFrame(texts, schema=dict.fromkeys(_SAID, pl.String)).cast(
            {name: FLAG_LOG[name] for name in _SAID}
        )

    def _said_in(self, view: View) -> _Said:
        codes = self._rules[view]
        said = {code: [edition.rules[code] for edition in self._editions] for code in codes}
        ordinary = [isinstance(rule, DeadlineRule) and rule.ordinary for rule in map(RULES.__getitem__, codes)]
        limits = {code: np.array([to_micros(_limit(one)) for one in said[code]], np.int64) for code in codes}
        return _Said(
            np.array([[one.enabled for one in said[code]] for code in codes], np.bool_),
            np.array(ordinary, np.bool_),
            {code: limit for code, limit in limits.items() if (limit != limit[0]).any()},
        )

    def _categories_of(self, facts: Facts) -> Ints:
        """Return the position of each category by id, and last that of orders without one."""
        ids = self._ids_of(facts.categories, self._categories)
        nth = np.full(len(facts.categories) + 1, len(self._categories), np.int32)
        nth[ids[ids >= 0]] = np.flatnonzero(ids >= 0)
        return nth

    def _dated(self, rows: pl.DataFrame, view: View, editions: Ints) -> Ints:
        """Return the edition that each row comes under: its version, and its promotion if it has one."""
        first: Ints = editions[rows["platform"].to_numpy()]
        dated = first
        acted_at, paid_at = micros(rows[view.acted_at]), micros(rows["paid_at"])
        for at, edition in enumerate(self._editions):
            if at != self._first[edition.platform]:
                applies = (first == self._first[edition.platform]) & _holds(edition, acted_at, paid_at)
                dated = np.where(applies, np.int32(at), dated)
        return dated

    def _by_profile(
        self, rows: pl.DataFrame, view: View, editions: Ints, categories: Ints
    ) -> tuple[pl.DataFrame, Bools]:
        """Add `edition`, the limits, and how long an order may take by category and promotion; say which rules are asked.

        These are by rule, then by row.
        """
        edition = self._dated(rows, view, editions)
        category = categories[rows["category"].to_numpy()]
        excluded, hours, most = self._by_category[:, category + edition * (len(self._categories) + 1)]
        promised = rows["promised"].to_numpy()
        if view is View.ORDER:
            counts = (promised != NONE) & ((promised <= most) | (most == NONE))
            promised = np.where(self._promoted[edition], np.int32(NONE), np.where(counts, promised, hours))
        said = self._said[view]
        judged = said.enabled[:, edition] & (excluded == 0)
        judged[said.ordinary] &= hours == NONE
        limits = [
            column(_limit_of(code), limit[edition], kind=pa.duration("us")) for code, limit in said.limits.items()
        ]
        hours = column("ship_within_hours", promised, promised != NONE)
        return rows.hstack([column("edition", edition), hours, *limits]), judged

    def _compared(self, rows: pl.DataFrame, facts: Facts) -> list[pl.Series]:
        """Return whether the places lie elsewhere that are compared."""
        return [
            self._comparisons.elsewhere(
                facts.places, rows[f"in_{one}"].to_numpy(), rows[f"in_{other}"].to_numpy()
            ).alias(f"{one}_elsewhere_than_{other}")
            for one, other in COMPARED
            if {f"in_{one}", f"in_{other}"} <= set(rows.columns)
        ]

    # The rules

    def _asked(self, view: View, *, exempted: bool) -> _Questions:
        """Return what is asked of rows of `view`; if `exempted`, some are under an exemption.

        Rules that count on another's deadline are asked after those that do not.
        """
        rules = {code: RULES[code] for code in self._rules[view]}
        given = {code: self._given(code, exempted=exempted) for code in rules}
        steps = []
        for counts_on in (False, True):
            step = {code: rule for code, rule in rules.items() if (_after(rule) is not None) is counts_on}
            deadlines = [
                rule.deadline(given[code]).alias(deadline_of(code))
                for code, rule in step.items()
                if isinstance(rule, DeadlineRule)
            ]
            moments = {code: _moment(rule, given[code]) for code, rule in step.items()}
            steps.append(_Step(moments, _columns(*moments.values()), deadlines))
        given = {code: one._replace(deadline=pl.col(deadline_of(code))) for code, one in given.items()}
        answers = [rule.violated_at(given[code]).cast(TIME).alias(code) for code, rule in rules.items()]
        answers += [rule.due_at(given[code]).cast(TIME).alias(f"{code}!due_at") for code, rule in rules.items()]
        return _Questions([step for step in steps if step.moments], answers)

    def _asked_late(self, view: View) -> list[str]:
        questions = self._questions[view, True]
        asked = [*(one for step in questions.steps for one in step.deadlines), *questions.answers]
        return sorted(LATE.keys() & {name for one in asked for name in one.meta.root_names()})

    def _given(self, code: str, *, exempted: bool) -> Given:
        varies = code in self._said[RULES[code].view].limits
        limit = pl.lit(_limit(self._editions[0].rules[code]), pl.Duration("us"))
        return Given(
            pl.col(_limit_of(code)) if varies else limit,
            pl.col(_extended(code)) if exempted else _NEVER_EXTENDED,
            pl.col("as_of"),
        )

    def _ask(
        self, rows: pl.DataFrame, view: View, judged: Bools, as_of: int | None, under: Ints, exemptions: pl.DataFrame
    ) -> tuple[pl.DataFrame, _Answers]:
        """Return `rows` with what evidence counts on, and the answers; `under` are the rows under any of the `exemptions`."""
        clock = np.full(len(rows), UNKNOWN if as_of is None else as_of, np.int64)
        rows = rows.hstack([time_column("as_of", clock)])
        questions, codes = self._questions[view, under.size > 0], self._rules[view]
        exempt, extended_to = np.zeros(judged.shape, np.bool_), np.full(judged.shape, UNKNOWN, np.int64)
        granted = _granted(under, exemptions, rows["order"].to_numpy()[under])
        for step in questions.steps:
            if under.size:
                nth, one = _applying(rows_of(rows[step.columns], under), step.moments, granted)
                rule = np.array([codes.index(code) for code in step.moments])[nth]
                row, to = granted.row[one], granted.to[one]
                exempt[rule[to == UNKNOWN], row[to == UNKNOWN]] = True
                np.maximum.at(extended_to, (rule, row), to)
                rows = rows.hstack(
                    [time_column(_extended(code), extended_to[codes.index(code)]) for code in step.moments]
                )
            if step.deadlines:
                rows = rows.with_columns(step.deadlines)
        answered = np.array([micros(answer) for answer in rows.select("order", *questions.answers).get_columns()[1:]])
        violated_at = np.where(judged, answered[: len(codes)], UNKNOWN)
        due_at = answered[len(codes) :]
        due_at = np.where(judged & (due_at != UNKNOWN), due_at, NEVER)
        if self._warn is None:
            return rows, _Answers(violated_at, np.zeros_like(judged), exempt, extended_to, judged, due_at.min(axis=0))
        warned_at = np.where(due_at != NEVER, due_at - self._warn, NEVER)
        in_warning = (warned_at < (UNKNOWN if as_of is None else as_of)) & (due_at != NEVER)
        near = in_warning & ~exempt
        at = np.where((violated_at == UNKNOWN) & near, due_at, violated_at)
        due = np.where(in_warning, due_at, warned_at).min(axis=0)
        return rows, _Answers(at, near, exempt, extended_to, judged, due)

    # The flags

    def _flags(
        self, rows: pl.DataFrame, few: Ints, view: View, answers: _Answers, facts: Facts, known: Ints
    ) -> tuple[Flags, list[pl.LazyFrame]]:
        """Return the flags of `few` rows of `view`, and their evidence, to be collected.

        These are the flags that hold, and those `known` that do not; the `answers` are those of these rows.
        """
        codes = self._rules[view]
        nth_of = np.array([codes.index(code) if code in codes else NONE for code in RULES])
        known = known[nth_of[facts.flags["rule"][known]] != NONE]
        order, platform, merchant, edition = (rows[name].to_numpy()[few] for name in _OF_ROW)
        about = rows[_KEY[view]].to_numpy()[few] if view in _KEY else np.zeros(len(few), np.int32)
        of_known = facts.flags[_KEY[view]][known] if view in _KEY else np.zeros(len(known), np.int32)
        key, keys_known = _pair(order, about), _pair(facts.flags["order"][known], of_known)
        keys = distinct(keys_known)
        by_key = np.full((len(codes), len(keys) + 1), NONE, np.int32)
        by_key[nth_of[facts.flags["rule"][known]], np.searchsorted(keys, keys_known)] = known
        at_key = np.searchsorted(keys, key)
        at_key[np.append(keys, NONE)[at_key] != key] = len(keys)
        was = by_key[:, at_key]
        asked = (answers.at != UNKNOWN) | (was != NONE)
        if view is View.PICKUP:
            for at, mask in zip(answers.at, asked, strict=True):
                _leave_first(rows, few, key, at, mask, facts)
        nth, row = np.nonzero(asked)
        evidence = [
            self._evidence(rows, few[mask], code, facts) for code, mask in zip(codes, asked, strict=True) if mask.any()
        ]
        lifted_at = np.array([micros(rows[_lifted_by(code)])[few] for code in codes])
        flags = Flags(
            order[row],
            about[row] if _KEY.get(view) == "waybill" else np.full(len(row), NONE, np.int32),
            about[row] if _KEY.get(view) == "case" else np.full(len(row), NONE, np.int32),
            np.array([_NTH[code] for code in codes], np.int32)[nth],
            was[nth, row],
            answers.at[nth, row],
            answers.near[nth, row],
            answers.exempt[nth, row],
            edition[row],
            platform[row],
            merchant[row],
            answers.judged[nth, row],
            lifted_at[nth, row],
            answers.extended_to[nth, row],
            evidence=_NO_TEXTS,
        )
        return flags, evidence

    def _evidence(self, rows: pl.DataFrame, these: Ints, code: str, facts: Facts) -> pl.LazyFrame:
        """Return the evidence of a rule in `these` rows, to be collected."""
        exempted = _extended(code) in rows.columns
        if (code, exempted) not in self._shown:
            given = self._given(code, exempted=exempted)._replace(deadline=pl.col(deadline_of(code)))
            evidence = RULES[code].evidence(given)
            needed = {name for expression in evidence.values() for name in expression.meta.root_names()}
            late = sorted(needed - set(rows.columns))
            columns = sorted({"order", *(needed - set(late)), *(LATE[name] for name in late)})
            like_these = rows[columns].clear()
            schema = like_these.hstack(told(like_these, facts, late)).select(**evidence).schema
            self._shown[code, exempted] = _Shown(columns, late, _as_json(evidence, schema))
        form = self._shown[code, exempted]
        part = rows_of(rows[form.columns], these)
        return part.hstack(told(part, facts, form.late)).lazy().select("order", form.evidence)


_NO_IDS: Final = np.empty(0, np.int32)
_NO_TIMES: Final = np.empty(0, np.int64)
_NO_ANSWERS: Final = np.empty(0, np.bool_)
_NO_TEXTS: Final = pl.Series(dtype=pl.String)
_NO_FLAGS: Final = Flags(
    order=_NO_IDS,
    waybill=_NO_IDS,
    case=_NO_IDS,
    rule=_NO_IDS,
    known=_NO_IDS,
    violated_at=_NO_TIMES,
    at_risk=_NO_ANSWERS,
    exempt=_NO_ANSWERS,
    edition=_NO_IDS,
    platform=_NO_IDS,
    merchant=_NO_IDS,
    judged=_NO_ANSWERS,
    lifted_at=_NO_TIMES,
    extended_to=_NO_TIMES,
    evidence=_NO_TEXTS,
)


def _together(flags: Sequence[Flags], evidence: Sequence[pl.LazyFrame]) -> Flags:
    """Return all `flags`, with their `evidence`: collected at once, that of a small batch takes half the time."""
    texts = [shown["evidence"] for shown in pl.collect_all(evidence, optimizations=pl.QueryOptFlags.none())]
    columns: list[Any] = [np.concatenate(column) for column in list(zip(_NO_FLAGS, *flags, strict=True))[:-1]]
    return Flags(*columns, *[pl.concat([_NO_TEXTS, *texts])])


def _leave_first(
    rows: pl.DataFrame, few: Ints, key: npt.NDArray[np.int64], at: Times, asked: Bools, facts: Facts
) -> None:
    """Of the `few` rows that are `asked` and have one `key`, leave the earliest violation; at one moment by what places say."""
    these = np.flatnonzero(asked)
    if len(distinct(key[these])) == len(these):
        return
    violated = [pl.Series("key", key[these]), time_column("at", at[these]), pl.Series("row", these)]
    pickups = rows_of(rows[["pickup_at", "in_pickup"]], few[these])
    several = pickups.hstack([*violated, *told(pickups, facts, LATE_OF_PICKUP)])
    by = several.sort("key", "at", "pickup_at", *LATE_OF_PICKUP, nulls_last=True)[["key", "row"]].to_numpy()
    asked[:] = False
    asked[by[begins(by[:, 0]), 1]] = True


def _applying(rows: pl.DataFrame, moments: Mapping[str, pl.Expr], granted: _Granted) -> tuple[Ints, Ints]:
    """Return which of the rules in `moments` each applies to of what is `granted` to `rows`: pairs of positions."""
    asked = rows.select("order", **moments)
    moment = np.array([micros(asked[code]) for code in moments])[:, granted.nth]
    bits = np.array([1 << _NTH[code] for code in moments], np.uint64)
    # Where there is no such moment, only what holds for ever holds.
    begun, not_over = granted.since <= moment, _or_never(moment) <= _or_never(granted.until)
    rule, one = np.nonzero(begun & not_over & (granted.rules & bits[:, np.newaxis] != 0))
    return rule.astype(np.int32), one.astype(np.int32)


def _granted(under: Ints, exemptions: pl.DataFrame, orders: Ints) -> _Granted:
    """Return what is granted to the rows `under` an exemption, which are of `orders`."""
    row, granted = pairs(orders, exemptions["order"].to_numpy())
    columns = (
        exemptions[name].to_numpy()[granted] for name in ("rules", "applies_from", "applies_until", "extended_to")
    )
    return _Granted(row, under[row], *columns)


def _pair(orders: Ints, others: Ints) -> npt.NDArray[np.int64]:
    return orders.astype(np.int64) << 32 | others


def _holds(edition: Edition, acted_at: Times, paid_at: Times) -> Bools:
    """Return whether a row of the platform comes under this edition: its version, and its promotion if it has one."""
    holds = np.ones(len(acted_at), np.bool_)
    if edition.effective_from is not None:
        holds &= acted_at >= since_epoch(edition.effective_from)
    if edition.effective_until is not None:
        holds &= (acted_at < since_epoch(edition.effective_until)) & (acted_at != UNKNOWN)
    if edition.promotion is not None:
        since, until = edition.promotion.paid_from, edition.promotion.paid_until
        holds &= (paid_at >= since_epoch(since)) & (paid_at < since_epoch(until))
    return holds


def _or_never(times: Times) -> Times:
    return np.where(times == UNKNOWN, NEVER, times)


def _moment(rule: Rule, given: Given) -> pl.Expr:
    """Return what an exemption's period is compared with: exemptions of a period are for what was due, or else violated, in it."""
    moment = rule.unmoved_deadline(given) if isinstance(rule, DeadlineRule) else rule.violated_at(given)
    return moment.cast(TIME)


def _columns(*expressions: pl.Expr) -> list[str]:
    """Return the columns that `expressions` need, and `order`: a frame needs one."""
    return sorted({"order", *(name for expression in expressions for name in expression.meta.root_names())})


def _after(rule: Rule) -> str | None:
    return rule.after if isinstance(rule, DeadlineRule) else None


def _lifted_by(code: str) -> str:
    rule = RULES[code]
    return rule.lifted_by if isinstance(rule, DeadlineRule) else "cancelled_at"


def _limit_of(code: str) -> str:
    return f"{code}!limit"


def _extended(code: str) -> str:
    return f"{code}!extended_to"


def _limit(settings: RuleSettings) -> timedelta:
    return timedelta(hours=settings.limit_hours or 0)


def _text(amount: object) -> str | None:
    return None if amount is None else str(amount)


def _as_json(evidence: Mapping[str, pl.Expr], schema: pl.Schema) -> pl.Expr:
    """Return one JSON object per row; times are RFC 3339 in UTC, null is what is not known."""
    shown = [
        (value.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") if isinstance(schema[name], pl.Datetime) else value).alias(name)
        for name, value in evidence.items()
    ]
    return pl.struct(shown).struct.json_encode().alias("evidence")
