"""What all deadline rules share; each one's own start, limit and end is in its own test."""

import pytest

from detectors import RULES, DeadlineRule
from detectors._contract import Rule
from tests.detectors.asking import US, ask, violated

DEADLINES = {code: rule for code, rule in RULES.items() if isinstance(rule, DeadlineRule)}
every_deadline = pytest.mark.parametrize("code", DEADLINES)


def limit(code: str) -> float:
    hours = DEADLINES[code].limit_hours
    assert hours is not None
    return hours


@every_deadline
def test_met_on_the_deadline_is_in_time_and_a_microsecond_later_is_not(code: str) -> None:
    rule = DEADLINES[code]
    on_time = {rule.start: 0, rule.met: limit(code)}
    assert violated(code, as_of=1000, **on_time) is None
    assert violated(code, as_of=1000, **on_time | {rule.met: limit(code) + US}) == limit(code)


@every_deadline
def test_not_met_is_a_violation_once_the_clock_has_passed_the_deadline(code: str) -> None:
    rule = DEADLINES[code]
    assert violated(code, as_of=limit(code), **{rule.start: 0}) is None
    assert violated(code, as_of=limit(code) + US, **{rule.start: 0}) == limit(code)


@every_deadline
def test_a_deadline_known_to_be_missed_needs_no_clock_and_an_open_one_does(code: str) -> None:
    rule = DEADLINES[code]
    assert violated(code, as_of=None, **{rule.start: 0, rule.met: limit(code) + 1}) == limit(code)
    assert violated(code, as_of=None, **{rule.start: 0}) is None


@every_deadline
def test_without_a_start_the_rule_waits_even_when_exempt_until_some_time(code: str) -> None:
    assert ask(code, as_of=1000, extended_to=500, **{DEADLINES[code].met: 900})[:2] == (None, None)


@every_deadline
def test_a_cancellation_at_the_deadline_lifts_the_obligation_and_later_it_does_not(code: str) -> None:
    rule = DEADLINES[code]
    assert violated(code, as_of=1000, cancelled_at=limit(code), **{rule.start: 0}) is None
    assert violated(code, as_of=1000, cancelled_at=limit(code) + US, **{rule.start: 0}) == limit(code)


@every_deadline
def test_an_exemption_moves_the_deadline_later_but_never_earlier(code: str) -> None:
    rule = DEADLINES[code]
    later = limit(code) + 10
    assert violated(code, as_of=later, extended_to=later, **{rule.start: 0}) is None
    assert violated(code, as_of=later + US, extended_to=later, **{rule.start: 0}) == pytest.approx(later)
    assert violated(code, as_of=later, extended_to=1, **{rule.start: 0}) == limit(code)


@every_deadline
def test_it_is_due_at_the_deadline_while_it_can_still_be_met(code: str) -> None:
    rule = DEADLINES[code]
    assert ask(code, as_of=limit(code), **{rule.start: 0}).due_at == limit(code)
    assert ask(code, as_of=None, **{rule.start: 0}).due_at == limit(code)
    assert ask(code, as_of=limit(code) + US, **{rule.start: 0}).due_at is None
    assert ask(code, as_of=1, **{rule.start: 0, rule.met: 1}).due_at is None
    assert ask(code, as_of=1, cancelled_at=1, **{rule.start: 0}).due_at is None


@every_deadline
def test_the_evidence_shows_both_ends_the_limit_and_the_deadline(code: str) -> None:
    rule = DEADLINES[code]
    evidence = ask(code, as_of=1000, **{rule.start: 0}).evidence
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
