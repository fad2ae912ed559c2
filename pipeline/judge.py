"""Asks the rules about views: which flags hold of some orders by their facts and the clock."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from detectors import RULES, DeadlineRule, Given, Rule, View, deadline_of
from detectors._facts import COMPARED
from detectors._profiles import Edition, Profiles, RuleSettings
from pipeline.arrays import NONE, Bools, Ints
from pipeline.comparing import Comparisons
from pipeline.condense import LATE, LATE_OF_PICKUP, Views, told
from pipeline.facts import Facts
from pipeline.packing import NEVER, UNKNOWN, Times
from schemas.frames import TIME

KEYS: Final = ("order", "waybill", "case")
"""What a flag is about, besides its rule; `NONE` where it is not about one."""
_FLAGS: Final = pl.Schema(
    {
        **dict.fromkeys(KEYS, pl.Int32()),
        "rule": pl.UInt8(),
        "violated_at": TIME,
        **dict.fromkeys(("at_risk", "exempt"), pl.Boolean()),
        "evidence": pl.String(),
        **dict.fromkeys(("platform", "merchant"), pl.Int32()),
        **dict.fromkeys(("clause", "severity", "compensation_percent", "compensation_yuan"), pl.String()),
        "judged": pl.Boolean(),
        **dict.fromkeys(("lifted_at", "extended_to"), TIME),
    }
)
PICKUP_RULES: Final = tuple(nth for nth, rule in enumerate(RULES.values()) if rule.view is View.PICKUP)
"""The positions of the rules that are asked of pickups."""
_NTH: Final = {code: nth for nth, code in enumerate(RULES)}
_BITS: Final = pl.Series([1 << nth for nth in _NTH.values()], dtype=pl.UInt64)
"""By the position of a rule."""
_NEVER_EXTENDED: Final = pl.lit(None, TIME)


class Verdicts(NamedTuple):
    """What holds of the orders asked about."""

    flags: pl.DataFrame
    """`KEYS`, `rule` (position), `violated_at` (of an obligation at risk: its deadline; null: neither), `at_risk`, `exempt`,
    `evidence`, `platform`, `merchant`, what the profile says of the rule (`clause`, `severity`, …), and what a reason may be made
    of: `judged`, `lifted_at`, `extended_to`. A row per violation, per obligation at risk, and per known flag."""
    due: Times
    """When the clock alone may change a flag (µs), `NEVER` if it cannot; by the rows of the view of orders."""


class _Step(NamedTuple):
    """Rules of which none counts on the deadline of another."""

    moments: Mapping[str, pl.Expr]
    """By rule, what an exemption's period is compared with: what was due, or else violated, in it."""
    columns: Sequence[pl.Expr]
    """Whether each rule is asked about a row, and its deadline."""


class _Questions(NamedTuple):
    """What the rules of a view ask, as expressions: made once, for that takes longer than to ask them of a small batch."""

    steps: Sequence[_Step]
    answers: Sequence[pl.Expr]
    """The time of each rule's violation (or of the deadline that is near), and whether it is only near."""
    outlook: Sequence[pl.Expr]
    """`notable`: whether there is any of these; `due`: when to look again, µs."""


class Judge:
    """The rules, with the limits of every platform, version and promotion.

    Args:
        profiles: The platforms.
        warn: How long before their deadlines obligations are at risk; None: they never are.
    """

    def __init__(self, profiles: Profiles, warn: timedelta | None = None) -> None:
        self._warn = warn
        self._profiles = profiles
        self._editions = profiles.editions()
        self._settings = {code: [edition.rules[code] for edition in self._editions] for code in RULES}
        self._first = {edition.platform: at for at, edition in reversed(list(enumerate(self._editions)))}
        said = (edition.shipping_categories for edition in self._editions)
        excluded = (profile.excluded_categories for profile in profiles.every)
        self._categories = sorted({name for names in (*said, *excluded) for name in names})
        self._by_category = self._said_of_categories()
        self._profiled = {view: self._profile_columns(view) for view in View}
        self._questions = {
            (view, exempted): self._asked(view, exempted=exempted) for view in View for exempted in (False, True)
        }
        self._told_all = {
            view
            for (view, _), questions in self._questions.items()
            for asked in (*(step.columns for step in questions.steps), questions.outlook)
            if any(LATE.intersection(column.meta.root_names()) for column in asked)
        }
        """The views of which some rule asks for more than its evidence what is known by number."""
        self._shown: dict[str, Sequence[pl.Expr]] = {}
        """What a flag of each rule says; known when there is the first."""
        self._comparisons = Comparisons()

    def verdicts(self, views: Views, facts: Facts, as_of: int | None, known: pl.DataFrame) -> Verdicts:
        """Judge `views` at the clock `as_of` (µs), and show the present evidence of the flags in `known` as well.

        `facts` gives the names behind the ids in the views; `known` has `KEYS` and `rule`.
        """
        orders = views.order["order"].to_numpy()
        at_order = np.empty(len(facts.orders), np.int32)
        at_order[orders] = np.arange(len(orders), dtype=np.int32)
        exempted, flagged = np.zeros((2, len(orders)), np.bool_)
        exempted[at_order[views.exemptions["order"].to_numpy()]] = True
        flagged[at_order[known["order"].to_numpy()]] = True
        known = known.select(*KEYS, known=pl.lit(_BITS).gather("rule")).group_by(KEYS).agg(pl.col("known").sum())
        editions, categories = self._editions_of(facts), self._categories_of(facts)
        flags, due = [_FLAGS.to_frame()], np.full(len(orders), NEVER, np.int64)
        for view in View:
            frame: pl.DataFrame = getattr(views, view)
            if not len(frame):
                continue
            if view in self._told_all:
                frame = told(frame, facts)
            frame = self._by_profile(self._compared(frame, facts), view, editions, categories, as_of)
            owner = at_order[frame["order"].to_numpy()]
            notable = []
            for part, owners, exemptions in _parts(frame, owner, exempted[owner], views.exemptions):
                asked, near, waiting = self._ask(part, view, exemptions)
                np.minimum.at(due, owners, waiting)
                # Most rows are in order: the rest of the work is about the few that are not, or were not.
                few = asked.filter(near | pl.Series(flagged[owners]))
                if len(few):
                    notable.append(few.with_columns(self._questions[view, exemptions is not None].answers))
            if notable:
                flags += self._flags(notable, view, facts, known)
        return Verdicts(pl.concat(flags), due)

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
        ids = facts.platforms.find(pl.DataFrame({"platform": names}))
        first = np.full(len(facts.platforms) + 1, self._first[self._profiles.every[0].platform], np.int32)
        for name, at in zip(names, ids.tolist(), strict=True):
            if at >= 0:
                first[at] = self._first[name]
        return first

    def _said_of_categories(self) -> pl.DataFrame:
        """Return what each edition says of each category, and last of all others: edition by edition."""
        rows = []
        for edition in self._editions:
            excluded = self._profiles.of(edition.platform).excluded_categories
            for name in (*self._categories, None):
                said = edition.shipping_categories.get(name) if name is not None else None
                hours, hours_max = (said.hours, said.hours_max) if said is not None else (None, None)
                rows.append((name in excluded, hours, hours_max))
        schema = {"excluded": pl.Boolean(), "category_hours": pl.Int32(), "category_hours_max": pl.Int32()}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _categories_of(self, facts: Facts) -> Ints:
        """Return the position of each category by id, and last that of orders without one."""
        ids = facts.categories.find(pl.DataFrame({"category": self._categories}, schema=facts.categories.schema))
        nth = np.full(len(facts.categories) + 1, len(self._categories), np.int32)
        nth[ids[ids >= 0]] = np.flatnonzero(ids >= 0)
        return nth

    def _by_profile(
        self, frame: pl.DataFrame, view: View, editions: Ints, categories: Ints, as_of: int | None
    ) -> pl.DataFrame:
        """Add `as_of`, `edition`, `excluded` and `category_hours`, and let category and promotion say how long orders may take."""
        edition = pl.Series("edition", editions[frame["platform"].to_numpy()])
        frame = frame.with_columns(edition, pl.lit(as_of, pl.Int64).cast(TIME).alias("as_of"))
        dated, promised = self._profiled[view]
        if dated is not None:
            frame = frame.with_columns(edition=dated)
        category = categories[frame["category"].to_numpy()]
        said = self._by_category[category + frame["edition"].to_numpy() * (len(self._categories) + 1)]
        frame = frame.hstack(said)
        return frame if promised is None else frame.with_columns(ship_within_hours=promised)

    def _profile_columns(self, view: View) -> tuple[pl.Expr | None, pl.Expr | None]:
        """Return how `edition`, that of the platform's first, follows from dates, and `ship_within_hours` from what is said."""
        dated, changed = pl.col("edition"), False
        for at, edition in enumerate(self._editions):
            if at != (first := self._first[edition.platform]):
                applies = (pl.col("edition") == first) & _holds(edition, view)
                dated, changed = pl.when(applies).then(pl.lit(at, pl.Int32)).otherwise(dated), True
        if view is not View.ORDER:
            return (dated if changed else None), None
        promised, hours_max = pl.col("ship_within_hours"), pl.col("category_hours_max")
        counts = promised.is_not_null() & (promised <= hours_max).fill_null(value=True)
        within = pl.when(counts).then(promised).otherwise(pl.col("category_hours"))
        promoted = [at for at, edition in enumerate(self._editions) if edition.promotes_shipping]
        return (dated if changed else None), pl.when(~pl.col("edition").is_in(promoted)).then(within)

    def _per_edition(self, code: str, value: Callable[[RuleSettings], Any], dtype: pl.DataType) -> pl.Expr:
        """Return what the row's edition says of the rule `code`."""
        values = pl.Series([value(settings) for settings in self._settings[code]], dtype=dtype)
        if values.n_unique() == 1:
            return pl.lit(values[0], dtype)
        return pl.lit(values).gather(pl.col("edition"))

    # The rules

    def _asked(self, view: View, *, exempted: bool) -> _Questions:
        """Return what is asked of rows of `view`: of those under an exemption, if `exempted`, else of all others.

        Rules that count on another's deadline are asked after those that do not.
        """
        rules = {code: rule for code, rule in RULES.items() if rule.view is view}
        given = {code: self._given(code, exempted=exempted) for code in rules}
        steps = []
        for counts_on in (False, True):
            step = {code: rule for code, rule in rules.items() if (_after(rule) is not None) is counts_on}
            moments = {code: _moment(rule, given[code]) for code, rule in step.items()}
            deadlines = [
                rule.deadline(given[code]).alias(deadline_of(code))
                for code, rule in step.items()
                if isinstance(rule, DeadlineRule)
            ]
            steps.append(_Step(moments, [*(self._asks(code).alias(_judged(code)) for code in step), *deadlines]))
        given = {code: one._replace(deadline=pl.col(deadline_of(code))) for code, one in given.items()}
        answers = {code: self._answers(code, rule, given[code], exempted=exempted) for code, rule in rules.items()}
        return _Questions(
            [step for step in steps if step.columns],
            [column for code, (at, near, _) in answers.items() for column in (at.alias(code), near.alias(_near(code)))],
            [
                pl.any_horizontal(at.is_not_null() for at, _, _ in answers.values()).alias("notable"),
                pl.min_horizontal(due for _, _, due in answers.values()).to_physical().fill_null(NEVER).alias("due"),
            ],
        )

    def _given(self, code: str, *, exempted: bool) -> Given:
        extended_to = pl.col(_extended(code)) if exempted else _NEVER_EXTENDED
        return Given(self._per_edition(code, _limit, pl.Duration("us")), extended_to, pl.col("as_of"))

    def _asks(self, code: str) -> pl.Expr:
        """Return whether the rule `code` is asked about a row."""
        asks = self._per_edition(code, lambda said: said.enabled, pl.Boolean()) & ~pl.col("excluded")
        rule = RULES[code]
        ordinary = isinstance(rule, DeadlineRule) and rule.ordinary
        return asks & pl.col("category_hours").is_null() if ordinary else asks

    def _answers(self, code: str, rule: Rule, given: Given, *, exempted: bool) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
        """Return the time of the violation (or of the deadline that is near), whether it is only near, and when to look again."""
        judged = pl.col(_judged(code))
        violated_at = pl.when(judged).then(rule.violated_at(given)).cast(TIME)
        due_at = pl.when(judged).then(rule.due_at(given)).cast(TIME)
        if self._warn is None:
            return violated_at, pl.lit(value=False), due_at
        in_warning = (given.as_of > due_at - self._warn).fill_null(value=False)
        near = in_warning & ~pl.col(_exempt(code)) if exempted else in_warning
        at = pl.coalesce(violated_at, pl.when(near).then(due_at))
        return at, near, pl.when(in_warning).then(due_at).otherwise(due_at - self._warn)

    def _ask(
        self, rows: pl.DataFrame, view: View, exemptions: pl.DataFrame | None
    ) -> tuple[pl.DataFrame, pl.Series, Times]:
        """Return `rows` with what the answers count on, which of them have any, and when to look again at each."""
        questions = self._questions[view, exemptions is not None]
        for step in questions.steps:
            if exemptions is not None:
                rows = _with_exemptions(rows, step.moments, exemptions)
            rows = rows.with_columns(step.columns)
        outlook = rows.select(questions.outlook)
        return rows, outlook["notable"], outlook["due"].to_numpy()

    # The flags

    def _compared(self, frame: pl.DataFrame, facts: Facts) -> pl.DataFrame:
        """Add whether the places lie elsewhere that are compared."""
        return frame.with_columns(
            self._comparisons.elsewhere(
                facts.places, frame[f"in_{one}"].to_numpy(), frame[f"in_{other}"].to_numpy()
            ).alias(f"{one}_elsewhere_than_{other}")
            for one, other in COMPARED
            if {f"in_{one}", f"in_{other}"} <= set(frame.columns)
        )

    def _flags(
        self, notable: list[pl.DataFrame], view: View, facts: Facts, known: pl.DataFrame
    ) -> Iterator[pl.DataFrame]:
        """Yield the flags of each rule in rows of `view`: those that hold, and those in `known` (rules, as bits) that do not."""
        rules = [code for code, rule in RULES.items() if rule.view is view]
        unexempted = [pl.lit(value=False).alias(_exempt(code)) for code in rules]
        unexempted += [_NEVER_EXTENDED.alias(_extended(code)) for code in rules]
        rows = pl.concat(
            [part if _exempt(rules[0]) in part.columns else part.with_columns(unexempted) for part in notable],
            how="diagonal",
        )
        rows = rows.with_columns(pl.lit(NONE, pl.Int32).alias(key) for key in KEYS if key not in rows.columns)
        rows = rows.join(known, on=KEYS, how="left")
        if "in_drop" in rows.columns and view not in self._told_all:
            rows = told(rows, facts)
        of_rule = rows.select(
            pl.col(code).is_not_null() | ((pl.col("known") & pl.lit(_bit(code), pl.UInt64)) != 0).fill_null(value=False)
            for code in rules
        )
        for code, asked in zip(rules, of_rule, strict=True):
            if asked.any():
                yield self._flags_of(rows.filter(asked), code)

    def _flags_of(self, rows: pl.DataFrame, code: str) -> pl.DataFrame:
        if RULES[code].view is View.PICKUP:
            rows = rows.sort(*KEYS, code, "pickup_at", *LATE_OF_PICKUP, nulls_last=True)
            rows = rows.unique(KEYS, keep="first", maintain_order=True)
        if code not in self._shown:
            self._shown[code] = self._flag_columns(code, rows)
        return rows.select(self._shown[code])

    def _flag_columns(self, code: str, rows: pl.DataFrame) -> Sequence[pl.Expr]:
        """Return the columns of `_FLAGS`, of rows like `rows`."""
        rule, text = RULES[code], pl.String()
        evidence = rule.evidence(self._given(code, exempted=True)._replace(deadline=pl.col(deadline_of(code))))
        columns = {
            **{key: pl.col(key) for key in KEYS},
            "rule": pl.lit(_NTH[code], pl.UInt8),
            "violated_at": pl.col(code),
            "evidence": _as_json(evidence, rows.select(**evidence).schema),
            "at_risk": pl.col(_near(code)),
            "exempt": pl.col(_exempt(code)),
            "platform": pl.col("platform"),
            "merchant": pl.col("merchant"),
            "clause": self._per_edition(code, lambda said: said.clause, text),
            "severity": self._per_edition(code, lambda said: said.severity, text),
            "compensation_percent": self._per_edition(code, lambda said: _text(said.compensation_percent), text),
            "compensation_yuan": self._per_edition(code, lambda said: _text(said.compensation_yuan), text),
            "judged": pl.col(_judged(code)),
            "lifted_at": pl.col(rule.lifted_by if isinstance(rule, DeadlineRule) else "cancelled_at"),
            "extended_to": pl.col(_extended(code)),
        }
        return [columns[name].alias(name) for name in _FLAGS]


def _parts(
    frame: pl.DataFrame, owner: Ints, exempted: Bools, exemptions: pl.DataFrame
) -> Iterator[tuple[pl.DataFrame, Ints, pl.DataFrame | None]]:
    """Yield the rows without and those with exemptions, each with their owners; only those need what is about exemptions."""
    if not exempted.any():
        yield frame, owner, None
        return
    if not exempted.all():
        yield frame.filter(pl.Series(~exempted)), owner[~exempted], None
    yield frame.filter(pl.Series(exempted)), owner[exempted], exemptions


def _holds(edition: Edition, view: View) -> pl.Expr:
    """Return whether a row of the platform comes under this edition: its version, and its promotion if it has one."""
    holds = pl.lit(value=True)
    if edition.effective_from is not None:
        holds &= pl.col(view.acted_at) >= edition.effective_from
    if edition.effective_until is not None:
        holds &= pl.col(view.acted_at) < edition.effective_until
    if edition.promotion is not None:
        holds &= (pl.col("paid_at") >= edition.promotion.paid_from) & (pl.col("paid_at") < edition.promotion.paid_until)
    return holds


def _with_exemptions(frame: pl.DataFrame, moments: Mapping[str, pl.Expr], exemptions: pl.DataFrame) -> pl.DataFrame:
    """Add, for each of the rules in `moments`, whether a row is exempt from it, and to when its deadlines are moved."""
    pairs = frame.select("order", pl.int_range(pl.len()).alias("row"), **moments).join(exemptions, on="order")
    row, rules, since, until, to = (
        pairs[name].to_numpy() for name in ("row", "rules", "applies_from", "applies_until", "extended_to")
    )
    added = []
    for code in moments:
        # Where there is no such moment, only what holds for ever holds.
        begun, not_over = since <= pairs[code].to_numpy(), _or_never(pairs[code].to_numpy()) <= _or_never(until)
        applies = begun & not_over & (rules & np.uint64(_bit(code)) != 0)
        exempt, extended_to = np.zeros(len(frame), np.bool_), np.full(len(frame), UNKNOWN, np.int64)
        exempt[row[applies & (to == UNKNOWN)]] = True
        np.maximum.at(extended_to, row[applies], to[applies])
        added += [pl.Series(_exempt(code), exempt), pl.Series(_extended(code), extended_to)]
    return frame.with_columns(added).with_columns(
        pl.when(pl.col(_extended(code)) != UNKNOWN).then(pl.col(_extended(code))).cast(TIME) for code in moments
    )


def _or_never(times: Times) -> Times:
    return np.where(times == UNKNOWN, NEVER, times)


def _moment(rule: Rule, given: Given) -> pl.Expr:
    """Return what an exemption's period is compared with: exemptions of a period are for what was due, or else violated, in it.

    In µs, `UNKNOWN` where there is none.
    """
    moment = rule.unmoved_deadline(given) if isinstance(rule, DeadlineRule) else rule.violated_at(given)
    return moment.cast(TIME).to_physical().fill_null(UNKNOWN)


def _after(rule: Rule) -> str | None:
    return rule.after if isinstance(rule, DeadlineRule) else None


def _bit(code: str) -> int:
    return 1 << _NTH[code]


def _exempt(code: str) -> str:
    return f"{code}!exempt"


def _extended(code: str) -> str:
    return f"{code}!extended_to"


def _near(code: str) -> str:
    return f"{code}!near"


def _judged(code: str) -> str:
    return f"{code}!judged"


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
