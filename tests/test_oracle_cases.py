"""The oracle's rules about after-sales cases against hand-computed examples, on both sides of each limit."""

from datetime import timedelta
from typing import Any

import pytest

from tests.histories import START, Event
from tests.oracle import Flag, judge
from tests.written import (
    LI,
    US,
    ZHANG,
    H,
    answered,
    cancelled,
    case,
    exempt,
    opened,
    paid,
    resent,
    scan,
    sent_back,
    uploaded,
    violations,
)

DOUYIN = [paid(0 * H, platform="douyin"), uploaded(1 * H), scan("picked_up", 1 * H), scan("delivered", 2 * H)]


def missed(rule: str, *events: Event, deadline: timedelta, meet: Any) -> None:
    """Check that `rule` is violated at `deadline` by these events, unless `meet` happens by then."""
    assert violations(rule, *DOUYIN, *events, as_of=deadline) == []
    assert violations(rule, *DOUYIN, *events, as_of=deadline + US) == [deadline]
    assert violations(rule, *DOUYIN, *events, meet(deadline)) == []
    assert violations(rule, *DOUYIN, *events, meet(deadline + US)) == [deadline]


# ---------------------------------------------------------------------------------------------------------------- cases


@pytest.mark.parametrize("kind", ["refund_only", "return_refund"])
def test_a_request_for_a_refund_must_be_answered_within_48_hours(kind):
    missed("aftersale_answer_overdue", opened(10 * H, kind), deadline=58 * H, meet=answered)
    missed("aftersale_answer_overdue", opened(10 * H, kind), deadline=58 * H, meet=lambda at: answered(at, "rejected"))
    assert violations("resend_answer_overdue", *DOUYIN, opened(10 * H, kind)) == []


def test_a_request_to_send_again_must_be_answered_within_48_hours():
    missed("resend_answer_overdue", opened(10 * H, "resend"), deadline=58 * H, meet=answered)
    assert violations("aftersale_answer_overdue", *DOUYIN, opened(10 * H, "resend")) == []


def test_a_return_closes_168_hours_after_it_was_agreed_to():
    missed("return_shipment_overdue", opened(10 * H), answered(20 * H), deadline=188 * H, meet=sent_back)
    for kind in ("refund_only", "resend"):
        assert violations("return_shipment_overdue", *DOUYIN, opened(10 * H, kind), answered(20 * H)) == []


@pytest.mark.parametrize(
    ("answers", "violated"),
    [
        ([], [226 * H]),
        ([answered(58 * H)], [226 * H]),
        ([answered(57 * H)], [225 * H]),
        ([answered(58 * H + US)], [226 * H]),
        ([answered(58 * H, "rejected")], []),
        ([answered(58 * H + US, "rejected")], [226 * H]),
        ([answered(20 * H, "rejected"), answered(30 * H)], []),
        ([answered(30 * H), answered(40 * H, "rejected")], [198 * H]),
        ([answered(5 * H)], [173 * H]),
    ],
)
def test_without_an_answer_in_time_the_platform_agrees_and_what_comes_after_changes_nothing(answers, violated):
    assert violations("return_shipment_overdue", *DOUYIN, opened(10 * H), *answers) == violated
    again = violations("resend_overdue", *DOUYIN, opened(10 * H, "resend"), *answers)
    assert again == [time - 120 * H for time in violated]


@pytest.mark.parametrize("kind", ["refund_only", "return_refund", "resend"])
def test_a_return_must_be_confirmed_within_168_hours_of_its_waybill_whatever_the_kind(kind):
    received = lambda at: case("return_received", at)  # noqa: E731
    missed("return_receipt_overdue", opened(10 * H, kind), sent_back(20 * H), deadline=188 * H, meet=received)


@pytest.mark.parametrize(
    ("received", "deadline"),
    [(None, 236 * H), (188 * H, 236 * H), (188 * H + US, 236 * H), (100 * H, 148 * H), (20 * H, 68 * H)],
)
def test_a_refund_is_due_48_hours_after_the_return_was_received_or_confirmed_by_default(received, deadline):
    events = [opened(10 * H), sent_back(20 * H)]
    events += [] if received is None else [case("return_received", received)]
    missed("refund_overdue", *events, deadline=deadline, meet=lambda at: case("refunded", at))


def test_without_a_return_waybill_there_is_nothing_to_receive_and_no_refund_due():
    flags = judge([*DOUYIN, opened(10 * H), answered(11 * H), case("return_received", 20 * H)], START + 500 * H)
    assert {flag.rule for flag in flags} == {"return_shipment_overdue"}


def test_what_was_agreed_to_be_sent_again_must_be_shipped_within_48_hours():
    events = [opened(10 * H, "resend"), answered(20 * H)]
    missed("resend_overdue", *events, deadline=68 * H, meet=resent)
    assert violations("resend_overdue", *DOUYIN, opened(10 * H), answered(20 * H)) == []


@pytest.mark.parametrize("kind", ["aftersale_closed", "refunded", "resend_shipped"])
def test_a_case_is_lifted_by_being_closed_refunded_or_sent_again(kind):
    def lift(at: timedelta) -> Event:
        return resent(at) if kind == "resend_shipped" else case(kind, at)

    for at, violated in ((0 * H, []), (58 * H, []), (58 * H + US, [58 * H])):
        events = [*DOUYIN, opened(10 * H), lift(at)]
        assert violations("aftersale_answer_overdue", *events, lift(900 * H)) == violated
        assert violations("return_shipment_overdue", *events) == []


def test_a_cancelled_order_does_not_lift_its_cases():
    assert violations("aftersale_answer_overdue", *DOUYIN, opened(10 * H), cancelled(11 * H)) == [58 * H]


def test_of_several_events_of_one_type_the_earliest_counts():
    events = [*DOUYIN, opened(10 * H, "resend"), opened(5 * H, "refund_only")]
    assert violations("aftersale_answer_overdue", *events) == [53 * H]
    assert violations("resend_answer_overdue", *events) == []
    events = [*DOUYIN, opened(10 * H), sent_back(40 * H), sent_back(20 * H), case("return_received", 190 * H)]
    assert violations("return_receipt_overdue", *events) == [188 * H]


def test_without_the_opening_the_rules_about_cases_wait():
    events = [answered(1 * H), sent_back(2 * H), case("return_received", 3 * H)]
    assert not any(flag.aftersale_id for flag in judge([*DOUYIN, *events], START + 900 * H))


def test_a_case_is_one_id_of_one_order():
    events = [*DOUYIN, paid(platform="douyin", order="b"), opened(10 * H), opened(11 * H, order="b")]
    events += [opened(12 * H, aftersale="r2"), answered(20 * H, order="b")]
    flags = {flag for flag in judge(events, START + 70 * H) if flag.aftersale_id}
    assert flags == {
        Flag("aftersale_answer_overdue", "a", None, None, "r1", START + 58 * H, "open"),
        Flag("aftersale_answer_overdue", "a", None, None, "r2", START + 60 * H, "open"),
    }


@pytest.mark.parametrize(("platform", "judged"), [("douyin", True), ("testmarket", True), ("wechat_channels", False)])
def test_cases_are_judged_where_the_profile_says_so(platform, judged):
    assert bool(violations("aftersale_answer_overdue", paid(platform=platform), opened(10 * H))) == judged
    assert violations("aftersale_answer_overdue", opened(10 * H)) == []


def test_an_extension_of_the_answer_moves_the_agreement_by_default():
    events = [*DOUYIN, opened(10 * H), exempt("aftersale_answer_overdue", until=70 * H)]
    assert violations("aftersale_answer_overdue", *events) == [70 * H]
    assert violations("return_shipment_overdue", *events) == [238 * H]
    assert violations("return_shipment_overdue", *events, answered(70 * H)) == [238 * H]
    assert violations("return_shipment_overdue", *events, answered(65 * H)) == [233 * H]
    assert violations("return_shipment_overdue", *events, answered(70 * H, "rejected")) == []


def test_an_extension_of_the_receipt_moves_the_confirmation_by_default():
    events = [*DOUYIN, opened(10 * H), sent_back(20 * H), exempt("return_receipt_overdue", until=200 * H)]
    assert violations("refund_overdue", *events) == [248 * H]
    assert violations("refund_overdue", *events, case("return_received", 195 * H)) == [243 * H]


# ---------------------------------------------------------------------------------------------------- what is sent again


def test_what_was_sent_again_is_a_shipment_without_a_time_limit_from_the_payment():
    flags = judge([*DOUYIN, resent(1 * H)], START + 100 * H)
    assert flags == {Flag("no_pickup_scan", "a", "zto", "9", None, START + 25 * H, "open")}


def test_what_was_sent_again_does_not_meet_the_orders_own_deadline():
    events = [paid(platform="douyin"), resent(1 * H), scan("picked_up", 2 * H, waybill="9")]
    assert violations("late_shipment", *events) == [48 * H]
    assert violations("unable_to_ship", *events, uploaded(96 * H)) == []


def test_a_waybill_that_was_also_uploaded_in_the_ordinary_way_is_an_ordinary_one():
    events = [paid(platform="douyin"), resent(1 * H), uploaded(40 * H, waybill="9")]
    assert violations("pickup_overdue", *events) == [72 * H]
    assert violations("no_pickup_scan", *events) == [25 * H]


def test_a_waybill_sent_again_counts_among_the_uses_of_its_number():
    events = [
        paid(recipient=ZHANG),
        paid(order="b", recipient=LI),
        resent(1 * H, order="b"),
        uploaded(2 * H, waybill="9"),
    ]
    assert violations("waybill_reused", *events) == [2 * H]
    events = [
        paid(recipient=ZHANG),
        paid(order="b", recipient=LI),
        uploaded(1 * H, order="b"),
        resent(2 * H, waybill="1"),
    ]
    assert violations("waybill_reused", *events) == [2 * H]


def test_every_parcel_that_was_sent_again_is_a_shipment_although_the_first_meets_the_obligation():
    flags = judge([*DOUYIN, resent(30 * H, waybill="8"), resent(20 * H, waybill="9")], START + 100 * H)
    assert {(flag.rule, flag.waybill_no) for flag in flags} == {("no_pickup_scan", "8"), ("no_pickup_scan", "9")}


def test_cases_are_warned_of_too():
    flags = judge([*DOUYIN, opened(10 * H)], START + 40 * H, warn_hours=24)
    assert flags == {Flag("aftersale_answer_overdue", "a", None, None, "r1", START + 58 * H, "at_risk")}
