"""What all deadline rules share; each one's own start, limit and end is in its own test."""

from typing import Any

import pytest

from detectors import RULES, DeadlineRule, deadline_of
from detectors._contract import Rule
from tests.detectors.asking import US, ask, violated

DEADLINES = {code: rule for code, rule in RULES.items() if isinstance(rule, DeadlineRule)}
every_deadline = pytest.mark.parametrize("code", DEADLINES)


def begun(code: str, hours: float = 0) -> dict[str, Any]:
    """What makes the time of the rule run from then: its start, and the deadline that it waits for at most."""
    rule = DEADLINES[code]
    return {rule.start: hours} | ({} if rule.after is None else {deadline_of(rule.after): hours})


def limit(code: str) -> float:
    hours = DEADLINES[code].limit_hours
    assert hours is not None
    return hours


@every_deadline
def test_met_on_the_deadline_is_in_time_and_a_microsecond_later_is_not(code: str) -> None:
    rule = DEADLINES[code]
    on_time = begun(code) | {rule.met: limit(code)}
    assert violated(code, as_of=1000, **on_time) is None
    assert violated(code, as_of=1000, **on_time | {rule.met: limit(code) + US}) == limit(code)


@every_deadline
def test_not_met_is_a_violation_once_the_clock_has_passed_the_deadline(code: str) -> None:
    assert violated(code, as_of=limit(code), **begun(code)) is None
    assert violated(code, as_of=limit(code) + US, **begun(code)) == limit(code)


@every_deadline
def test_a_deadline_known_to_be_missed_needs_no_clock_and_an_open_one_does(code: str) -> None:
    rule = DEADLINES[code]
    assert violated(code, as_of=None, **begun(code) | {rule.met: limit(code) + 1}) == limit(code)
    assert violated(code, as_of=None, **begun(code)) is None


@every_deadline
def test_without_a_start_the_rule_waits_even_when_exempt_until_some_time(code: str) -> None:
    assert ask(code, as_of=1000, extended_to=500, **{DEADLINES[code].met: 900})[:2] == (None, None)


@every_deadline
def test_what_ends_an_obligation_at_the_deadline_lifts_it_and_later_does_not(code: str) -> None:
    rule = DEADLINES[code]
    assert violated(code, as_of=1000, **begun(code) | {rule.lifted_by: limit(code)}) is None
    assert violated(code, as_of=1000, **begun(code) | {rule.lifted_by: limit(code) + US}) == limit(code)


@every_deadline
def test_an_exemption_moves_the_deadline_later_but_never_earlier(code: str) -> None:
    later = limit(code) + 10
    assert violated(code, as_of=later, extended_to=later, **begun(code)) is None
    assert violated(code, as_of=later + US, extended_to=later, **begun(code)) == pytest.approx(later)
    assert violated(code, as_of=later, extended_to=1, **begun(code)) == limit(code)


@every_deadline
def test_it_is_due_at_the_deadline_while_it_can_still_be_met(code: str) -> None:
    rule = DEADLINES[code]
    assert ask(code, as_of=limit(code), **begun(code)).due_at == limit(code)
    assert ask(code, as_of=None, **begun(code)).due_at == limit(code)
    assert ask(code, as_of=limit(code) + US, **begun(code)).due_at is None
    assert ask(code, as_of=1, **begun(code) | {rule.met: 1}).due_at is None
    assert ask(code, as_of=1, **begun(code) | {rule.lifted_by: 1}).due_at is None


@pytest.mark.parametrize("code", [code for code, rule in DEADLINES.items() if rule.after])
def test_a_rule_that_waits_for_another_deadline_counts_from_it_at_the_latest(code: str) -> None:
    rule = DEADLINES[code]
    assert rule.after is not None
    last = {deadline_of(rule.after): 10}
    assert violated(code, as_of=1000, **last | {rule.start: 10}) == 10 + limit(code)
    if rule.start != deadline_of(rule.after):
        assert violated(code, as_of=1000, **last) == 10 + limit(code)
        assert violated(code, as_of=1000, **last | {rule.start: 10 - US}) == pytest.approx(10 - US + limit(code))
        assert violated(code, as_of=1000, **last | {rule.start: 11}) == 10 + limit(code)
        assert violated(code, as_of=1000, **{rule.start: 0}) is None
    if rule.unless is not None:
        assert violated(code, as_of=1000, **last | {rule.unless: 10}) is None
        assert violated(code, as_of=1000, **last | {rule.unless: 10 + US}) == 10 + limit(code)


@pytest.mark.parametrize("code", [code for code, rule in DEADLINES.items() if rule.only])
def test_a_rule_about_some_rows_only_is_silent_about_the_others(code: str) -> None:
    rule = DEADLINES[code]
    assert rule.only is not None
    assert violated(code, as_of=1000, **begun(code)) == limit(code)
    assert ask(code, as_of=1000, **begun(code) | {rule.only: False})[:2] == (None, None)
    assert ask(code, as_of=0, **begun(code) | {rule.only: None})[:2] == (None, None)


@every_deadline
def test_the_evidence_shows_both_ends_the_limit_and_the_deadline(code: str) -> None:
    rule = DEADLINES[code]
    evidence = ask(code, as_of=1000, **begun(code)).evidence
    assert evidence["limit_hours"] == limit(code)
    assert evidence["deadline"] is not None
    assert evidence[rule.start] is not None
    assert evidence[rule.met] is None


@pytest.mark.parametrize("code", RULES)
def test_every_rule_has_a_title_a_source_and_its_blind_spots_or_none_to_tell(code: str) -> None:
    rule: Rule = RULES[code]
    assert rule.title
    assert "Source:" in (type(rule).__doc__ or ""), f"the docstring of {type(rule).__name__} must name its source"


@pytest.mark.parametrize("code", RULES)
def test_every_rule_is_silent_about_a_row_of_which_nothing_is_known(code: str) -> None:
    assert ask(code, as_of=10_000)[:2] == (None, None)
