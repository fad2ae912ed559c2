"""Asks the rules about views: which flags hold of some orders by their facts and the clock."""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

import polars as pl

from detectors import RULES, DeadlineRule, Given, Rule, View, deadline_of
from detectors._profiles import Edition, Profiles, RuleSettings
from pipeline.arrays import NONE
from pipeline.condense import Views
from pipeline.facts import Facts
from pipeline.packing import NEVER
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
_CATEGORIES_MAX: Final = 2**31
"""More than the ids of categories: `edition * _CATEGORIES_MAX + category` is a key of its own."""


class Verdicts(NamedTuple):
    """What holds of the orders asked about."""

    flags: pl.DataFrame
    """`KEYS`, `rule` (position), `violated_at` (of an obligation at risk: its deadline; null: neither), `at_risk`, `exempt`,
    `evidence`, `platform`, `merchant`, what the profile says of the rule (`clause`, `severity`, …), and what a reason may be made
    of: `judged`, `lifted_at`, `extended_to`. A row per violation, per obligation at risk, and per known flag."""
    due: pl.DataFrame
    """`order` and `due`: when the clock alone may change a flag (µs), `NEVER` if it cannot."""


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
        numbered = list(enumerate(self._editions))
        self._promoted = [at for at, edition in numbered if edition.promotes_shipping]
        self._shipping = {
            (at, name): said for at, edition in numbered for name, said in edition.shipping_categories.items()
        }
        self._excluded = {
            (at, name): True for at, edition in numbered for name in profiles.of(edition.platform).excluded_categories
        }
        self._categories = sorted({name for _, name in (*self._shipping, *self._excluded)})

    def verdicts(self, views: Views, facts: Facts, as_of: int | None, known: pl.DataFrame) -> Verdicts:
        """Judge `views` at the clock `as_of` (µs), and show the present evidence of the flags in `known` as well.

        `facts` gives the names behind the ids in the views; `known` has `KEYS` and `rule`.
        """
        clock = pl.lit(as_of, pl.Int64).cast(TIME)
        flags, due = [_FLAGS.to_frame()], [views.order.select("order", due=pl.lit(NEVER))]
        for view in View:
            frame: pl.DataFrame = getattr(views, view)
            if not len(frame):
                continue
            rules = {code: rule for code, rule in RULES.items() if rule.view is view}
            frame, given = self._asked(self._by_profile(frame, view, facts), rules, views.exemptions, clock)
            waiting = pl.min_horizontal(pl.col(_due(code)) for code in rules).to_physical().fill_null(NEVER)
            due.append(frame.select("order", due=waiting))
            frame = frame.with_columns(pl.lit(NONE, pl.Int32).alias(key) for key in KEYS if key not in frame.columns)
            # Most rows are in order: the rest of the work is about the few that are not, or were not.
            violated = frame.filter(pl.any_horizontal(pl.col(code).is_not_null() for code in rules))
            present = frame.join(known, on=KEYS, how="semi") if len(known) else frame.clear()
            for nth, code in enumerate(RULES):
                if code in rules:
                    asked = present.filter(pl.col(code).is_null()).join(known.filter(rule=nth), on=KEYS, how="semi")
                    rows = pl.concat([violated.filter(pl.col(code).is_not_null()), asked])
                    if len(rows):
                        flags.append(self._flags(rows, code, given[code]))
        return Verdicts(pl.concat(flags), pl.concat(due).group_by("order").agg(pl.col("due").min()))

    # What the profile says of each row

    def within_origin(self, facts: Facts) -> pl.Expr:
        """Return whether on a row's `platform` a transfer counts only in the province that the parcel started from."""
        names = [profile.platform for profile in self._profiles.every[1:]]
        ids = facts.platforms.find(pl.DataFrame({"platform": names}, schema=facts.platforms.schema)).tolist()
        bound = {
            at: profile.transfers == "origin_province"
            for at, profile in zip(ids, self._profiles.every[1:], strict=True)
        }
        other = self._profiles.every[0].transfers == "origin_province"
        return pl.col("platform").replace_strict(
            list(bound), list(bound.values()), default=other, return_dtype=pl.Boolean
        )

    def _by_profile(self, frame: pl.DataFrame, view: View, facts: Facts) -> pl.DataFrame:
        """Add `edition`, `excluded` and `category_hours`, and let category and promotion say how long orders may take."""
        ids = facts.categories.find(pl.DataFrame({"category": self._categories}, schema=facts.categories.schema))
        id_of = dict(zip(self._categories, ids.tolist(), strict=True))
        key = pl.col("edition").cast(pl.Int64) * _CATEGORIES_MAX + pl.col("category")

        def of_category(values: Mapping[tuple[int, str], Any], dtype: pl.DataType) -> pl.Expr:
            known = {
                at * _CATEGORIES_MAX + id_of[name]: said for (at, name), said in values.items() if id_of[name] >= 0
            }
            return key.replace_strict(list(known), list(known.values()), default=None, return_dtype=dtype)

        frame = frame.with_columns(edition=self._edition(view, facts))
        hours = of_category({of: said.hours for of, said in self._shipping.items()}, pl.Int32())
        excluded = of_category(self._excluded, pl.Boolean()).fill_null(value=False)
        frame = frame.with_columns(excluded=excluded, category_hours=hours)
        if view is not View.ORDER:
            return frame
        hours_max = of_category({of: said.hours_max for of, said in self._shipping.items()}, pl.Int32())
        promised = pl.col("ship_within_hours")
        counts = promised.is_not_null() & (promised <= hours_max).fill_null(value=True)
        within = pl.when(counts).then(promised).otherwise(pl.col("category_hours"))
        return frame.with_columns(ship_within_hours=pl.when(~pl.col("edition").is_in(self._promoted)).then(within))

    def _edition(self, view: View, facts: Facts) -> pl.Expr:
        """Return the position of the edition that judges a row: by platform, by the time of the act, by that of payment."""
        names = sorted({edition.platform for edition in self._editions[1:]} - {self._editions[0].platform})
        ids = dict(zip(names, facts.platforms.find(pl.DataFrame({"platform": names})).tolist(), strict=True))
        first = {edition.platform: at for at, edition in reversed(list(enumerate(self._editions)))}
        known = {ids[name]: first[name] for name in names if ids[name] >= 0}
        platform = pl.col("platform")
        position = platform.replace_strict(list(known), list(known.values()), default=0, return_dtype=pl.Int32)
        for at, edition in enumerate(self._editions):
            if at == first[edition.platform]:
                continue
            if edition.platform in ids:
                applies = platform == ids[edition.platform]
            else:
                applies = ~platform.is_in(list(known)).fill_null(value=False)
            position = pl.when(applies & _holds(edition, view)).then(pl.lit(at, pl.Int32)).otherwise(position)
        return position

    def _per_edition(self, code: str, value: Callable[[RuleSettings], Any], dtype: pl.DataType) -> pl.Expr:
        """Return what the row's edition says of the rule `code`."""
        values = pl.Series([value(settings) for settings in self._settings[code]], dtype=dtype)
        if values.n_unique() == 1:
            return pl.lit(values[0], dtype)
        return pl.col("edition").replace_strict(range(len(values)), values, return_dtype=dtype)

    # The rules

    def _asked(
        self, frame: pl.DataFrame, rules: dict[str, Rule], exemptions: pl.DataFrame, clock: pl.Expr
    ) -> tuple[pl.DataFrame, dict[str, Given]]:
        """Return `frame` with each rule's answers, and what each rule was given.

        Rules that count on another's deadline are asked after those that do not.
        """
        given: dict[str, Given] = {}
        frame = frame.with_columns(self._asks(code).alias(_judged(code)) for code in rules)
        for counts_on in (False, True):
            asked = {code: rule for code, rule in rules.items() if (_after(rule) is not None) is counts_on}
            for code in asked:
                plain = Given(self._per_edition(code, _limit, pl.Duration("us")), pl.lit(None, TIME), clock)
                frame, given[code] = _with_exemptions(frame, code, exemptions, plain)
            frame = frame.with_columns(
                rule.deadline(given[code]).alias(deadline_of(code))
                for code, rule in asked.items()
                if isinstance(rule, DeadlineRule)
            )
        spared = [_exempt(code) for code in rules if _exempt(code) not in frame.columns]
        frame = frame.with_columns(pl.lit(value=False).alias(name) for name in spared)
        answers = [answer for code, rule in rules.items() for answer in self._answers(code, rule, given[code])]
        return frame.with_columns(answers), given

    def _asks(self, code: str) -> pl.Expr:
        """Return whether the rule `code` is asked about a row."""
        asks = self._per_edition(code, lambda said: said.enabled, pl.Boolean()) & ~pl.col("excluded")
        rule = RULES[code]
        ordinary = isinstance(rule, DeadlineRule) and rule.ordinary
        return asks & pl.col("category_hours").is_null() if ordinary else asks

    def _answers(self, code: str, rule: Rule, given: Given) -> Iterable[pl.Expr]:
        """Return the time of the violation (or of the deadline that is near), whether it is only near, and when to look again."""
        judged = pl.col(_judged(code))
        violated_at = pl.when(judged).then(rule.violated_at(given)).cast(TIME)
        due_at = pl.when(judged).then(rule.due_at(given)).cast(TIME)
        if self._warn is None:
            near = pl.lit(value=False)
            yield violated_at.alias(code)
            yield due_at.alias(_due(code))
        else:
            in_warning = (given.as_of > due_at - self._warn).fill_null(value=False)
            near = in_warning & ~pl.col(_exempt(code))
            yield pl.coalesce(violated_at, pl.when(near).then(due_at)).alias(code)
            yield pl.when(in_warning).then(due_at).otherwise(due_at - self._warn).alias(_due(code))
        yield near.alias(_near(code))

    def _flags(self, rows: pl.DataFrame, code: str, given: Given) -> pl.DataFrame:
        rule = RULES[code]
        if rule.view is View.PICKUP:
            evidence = [name for name in rows.columns if name.startswith("pickup_")]
            rows = rows.sort(*KEYS, code, *evidence, nulls_last=True).unique(KEYS, keep="first", maintain_order=True)
        text = pl.String()
        return rows.select(
            *KEYS,
            rule=pl.lit(list(RULES).index(code), pl.UInt8),
            violated_at=pl.col(code),
            at_risk=pl.col(_near(code)),
            exempt=pl.col(_exempt(code)),
            evidence=_as_json(rule.evidence(given), rows),
            platform="platform",
            merchant="merchant",
            clause=self._per_edition(code, lambda said: said.clause, text),
            severity=self._per_edition(code, lambda said: said.severity, text),
            compensation_percent=self._per_edition(code, lambda said: _text(said.compensation_percent), text),
            compensation_yuan=self._per_edition(code, lambda said: _text(said.compensation_yuan), text),
            judged=pl.col(_judged(code)),
            lifted_at=rule.lifted_by if isinstance(rule, DeadlineRule) else "cancelled_at",
            extended_to=given.extended_to,
        )


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


def _with_exemptions(
    frame: pl.DataFrame, code: str, exemptions: pl.DataFrame, given: Given
) -> tuple[pl.DataFrame, Given]:
    """Add, where there are any, whether a row is exempt from the rule `code`; give the rule to when its deadlines are moved."""
    bit = 1 << list(RULES).index(code)
    of_rule = exemptions.filter((pl.col("rules") & pl.lit(bit, pl.UInt64)) != 0) if len(exemptions) else exemptions
    if not len(of_rule):
        return frame, given
    rule = RULES[code]
    # Exemptions of a period are for what was due, or else violated, in it.
    moment = rule.unmoved_deadline(given) if isinstance(rule, DeadlineRule) else rule.violated_at(given)
    begun = (pl.col("applies_from") <= pl.col("moment")).fill_null(pl.col("applies_from").is_null())
    not_over = (pl.col("moment") <= pl.col("applies_until")).fill_null(pl.col("applies_until").is_null())
    extended = f"{code}!extended_to"
    frame = frame.with_row_index("row")
    by_row = (
        frame.select("row", "order", moment=moment)
        .join(of_rule, on="order")
        .filter(begun & not_over)
        .group_by("row")
        .agg(pl.col("extended_to").is_null().any().alias(_exempt(code)), pl.col("extended_to").max().alias(extended))
    )
    frame = frame.join(by_row, on="row", how="left").drop("row")
    frame = frame.with_columns(pl.col(_exempt(code)).fill_null(value=False))
    return frame, given._replace(extended_to=pl.col(extended))


def _after(rule: Rule) -> str | None:
    return rule.after if isinstance(rule, DeadlineRule) else None


def _exempt(code: str) -> str:
    return f"{code}!exempt"


def _due(code: str) -> str:
    return f"{code}!due_at"


def _near(code: str) -> str:
    return f"{code}!near"


def _judged(code: str) -> str:
    return f"{code}!judged"


def _limit(settings: RuleSettings) -> timedelta:
    return timedelta(hours=settings.limit_hours or 0)


def _text(amount: object) -> str | None:
    return None if amount is None else str(amount)


def _as_json(evidence: Mapping[str, pl.Expr], rows: pl.DataFrame) -> pl.Series:
    """Return one JSON object per row; times are RFC 3339 in UTC, null is what is not known."""
    shown = rows.select(**evidence)
    times = [
        pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") if isinstance(dtype, pl.Datetime) else pl.col(name)
        for name, dtype in shown.schema.items()
    ]
    return shown.select(pl.struct(times).struct.json_encode().alias("evidence"))["evidence"]
