"""What a rule is: a declaration over condensed facts, with no memory, no clock and no input of its own.

A rule asks one question of every row of a view and answers with a time (violated at) or null (not violated). It cannot see
events, arrival order or the state of flags, so duplicates, reordering and restarts cannot change its answer.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar, NamedTuple

import polars as pl


class View(StrEnum):
    """What one row stands for. The columns of each view are listed in `detectors._facts`."""

    ORDER = "order"
    SHIPMENT = "shipment"
    PICKUP = "pickup"
    """A pickup scan of a shipment that has several; of the rows that are violated the earliest counts."""
    AFTERSALE = "aftersale"

    @property
    def acted_at(self) -> str:
        """The column of the act that is judged, by the rules in force when it happened (WeChat 4.1)."""
        return {View.ORDER: "paid_at", View.AFTERSALE: "opened_at"}.get(self, "uploaded_at")


class Given(NamedTuple):
    """What the platform's profile, the order's exemptions and the clock give a rule, as expressions over its view."""

    limit: pl.Expr
    """The rule's threshold in the order's platform profile, a duration."""
    extended_to: pl.Expr
    """The latest time to which an exemption moves this rule's deadlines, or null."""
    as_of: pl.Expr
    """The clock, or null while it is unknown (then nothing is overdue)."""
    deadline: pl.Expr | None = None
    """The rule's moved deadline where that is known, so that it need not be computed for each answer; None: it is not."""


class Rule(ABC):
    """One kind of violation. The module's name is the rule's code, the class docstring its documentation."""

    view: ClassVar[View] = View.SHIPMENT
    title: ClassVar[str]
    """The rule in a few words, for tables."""
    limit_hours: ClassVar[float | None] = None
    """The threshold where a platform's profile does not say; None: the rule has none."""
    by_default: ClassVar[bool] = True
    """Whether it is judged on platforms whose profile does not name it."""

    @abstractmethod
    def violated_at(self, given: Given) -> pl.Expr:
        """Return the time of the violation, or null where there is none."""

    def due_at(self, given: Given) -> pl.Expr:
        """Return the time after which the answer may change by the clock alone, or null: never."""
        del given
        return pl.lit(None, pl.Datetime("us", "UTC"))

    @abstractmethod
    def evidence(self, given: Given) -> Mapping[str, pl.Expr]:
        """Name the times and places compared, and the limit, for the person who reads the flag."""


class DeadlineRule(Rule):
    """Something had to happen by a deadline: `Missed(start + limit, met)` of the contract.

    The deadline has been missed when `met` is later than it, or has not happened and the clock is past it; not when the
    obligation was lifted at or before it. On the deadline itself there is no violation.
    """

    start: ClassVar[str]
    """The column from which the time runs; null: the rule waits."""
    met: ClassVar[str]
    """The column of what had to happen."""
    lifted_by: ClassVar[str] = "cancelled_at"
    """The column of what ends the obligation."""
    only: ClassVar[str | None] = None
    """The column that says whether the rule is about the row at all; None: it is about every row."""
    ordinary: ClassVar[bool] = False
    """Whether the rule is only about orders that the platform gives no shipping times of their own, by their category."""
    promised: ClassVar[str | None] = None
    """The column in which the order itself says how many hours it may take; null: the profile's limit."""

    after: ClassVar[str | None] = None
    """The rule at whose (moved) deadline the time begins to run at the latest: then `start` is taken for granted."""
    unless: ClassVar[str | None] = None
    """With `after`: the column of what, at or before that deadline, keeps the time from running at all."""

    def started_at(self) -> pl.Expr:
        """Return when the time began to run, or will; null: it does not."""
        start = pl.col(self.start)
        if self.after is not None:
            latest = pl.col(deadline_of(self.after))
            # `min_horizontal` would take a start for one that no deadline bounds.
            start = pl.when(start <= latest).then(start).otherwise(latest)
            if self.unless is not None:
                start = pl.when((pl.col(self.unless) > latest).fill_null(value=True)).then(start)
        return start if self.only is None else pl.when(pl.col(self.only)).then(start)

    def limit(self, given: Given) -> pl.Expr:
        """Return how long it may take."""
        return (
            given.limit if self.promised is None else pl.coalesce(pl.duration(hours=pl.col(self.promised)), given.limit)
        )

    def unmoved_deadline(self, given: Given) -> pl.Expr:
        """Return the deadline before any exemption; null without a start."""
        return self.started_at() + self.limit(given)

    def deadline(self, given: Given) -> pl.Expr:
        """Return the deadline, moved by exemptions where that is later; null without a start."""
        if given.deadline is not None:
            return given.deadline
        deadline = self.unmoved_deadline(given)
        return pl.when(given.extended_to > deadline).then(given.extended_to).otherwise(deadline)

    def violated_at(self, given: Given) -> pl.Expr:
        """Return the deadline where it was missed."""
        deadline, met = self.deadline(given), pl.col(self.met)
        missed = (met > deadline) | (met.is_null() & (given.as_of > deadline))
        return pl.when(missed & self._in_force(deadline)).then(deadline)

    def due_at(self, given: Given) -> pl.Expr:
        """Return the deadline while it is still to be met."""
        deadline = self.deadline(given)
        pending = pl.col(self.met).is_null() & (given.as_of <= deadline).fill_null(value=True)
        return pl.when(pending & self._in_force(deadline)).then(deadline)

    def evidence(self, given: Given) -> Mapping[str, pl.Expr]:
        """Show both ends of the comparison and how the deadline came about."""
        counted = {} if self.after is None else {"counted_from": self.started_at()}
        return {
            self.start: pl.col(self.start),
            **counted,
            "limit_hours": self.limit(given).dt.total_microseconds() / 3_600_000_000,
            "deadline": self.deadline(given),
            self.met: pl.col(self.met),
            "extended_to": given.extended_to,
            self.lifted_by: pl.col(self.lifted_by),
        }

    def _in_force(self, deadline: pl.Expr) -> pl.Expr:
        return (pl.col(self.lifted_by) > deadline).fill_null(value=True)


def deadline_of(rule: str) -> str:
    """Return the name of the column that holds the moved deadline of `rule`."""
    return f"{rule}_deadline"


def elsewhere(one: str, other: str) -> pl.Expr:
    """Return whether two places (column prefixes) lie in different cities; null where that cannot be told.

    A column: places are compared once for each pair of them (`lie_apart`), not for each row.
    """
    return pl.col(f"{one}_elsewhere_than_{other}")


def lie_apart(one: str, other: str) -> pl.Expr:
    """Return `elsewhere` of two places whose columns are there.

    They do where no city that the one may lie in is one that the other may lie in. Two cities that are in no list differ by
    name, or by province where both name one; a city that is the other's county is the same place, and so is one with the
    same beginning of the postal code. Names in different scripts are not compared.
    """
    apart = pl.col(f"{one}_cities").list.set_intersection(f"{other}_cities").list.len() == 0
    city, other_city = pl.col(f"{one}_unlisted_city"), pl.col(f"{other}_unlisted_city")
    within = (city == pl.col(f"{other}_unlisted_county")) | (other_city == pl.col(f"{one}_unlisted_county"))
    same_postal = pl.col(f"{one}_postal") == pl.col(f"{other}_postal")
    other_name = (city != other_city) & ~within.fill_null(value=False) & ~same_postal.fill_null(value=False)
    other_province = pl.col(f"{one}_unlisted_province") != pl.col(f"{other}_unlisted_province")
    differs = other_name | other_province.fill_null(value=False) | apart.fill_null(value=False)
    return pl.when(_in_latin(city) == _in_latin(other_city)).then(differs).otherwise(apart)


def _in_latin(name: pl.Expr) -> pl.Expr:
    return name.str.len_bytes() == name.str.len_chars()
