"""The oracle against hand-computed examples of what docs/reference.md adds to the contract, on both sides of each limit."""

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.histories import START, Event
from tests.oracle import judge
from tests.oracle_divisions import code_of, lies_within, region_code
from tests.oracle_profiles import PLATFORMS, TESTMARKET, Category, Platform, Promotion, Says, Version
from tests.written import (
    EVERYWHERE,
    HANGZHOU,
    LI,
    SHENZHEN,
    US,
    ZHANG,
    H,
    cancelled,
    exempt,
    fact,
    moved_to,
    opened,
    paid,
    replaced,
    resent,
    scan,
    uploaded,
    violations,
)

GUANGDONG = {"province": "广东省"}
ZHEJIANG = {"province": "浙江省"}


# ----------------------------------------------------------------------------------------------------------- exemptions


@pytest.mark.parametrize(
    ("scopes", "covered"),
    [
        ({"platform": "wechat_channels"}, True),
        ({"platform": "douyin"}, False),
        ({"merchant_id": "m"}, True),
        ({"merchant_id": "n"}, False),
        ({"platform": "wechat_channels", "merchant_id": "n"}, False),
        ({"region": "广东省"}, True),
        ({"region": "440000"}, True),
        ({"region": "广东省 深圳市"}, True),
        ({"region": "440300"}, True),
        ({"region": "440305"}, False),
        ({"region": "浙江省"}, False),
        ({"region": "440100"}, False),
        ({"region": "某地"}, False),
        ({"platform": "wechat_channels", "merchant_id": "m", "region": "广东省"}, True),
        ({"order_id": "a", "platform": "douyin", "region": "浙江省"}, True),
        ({"order_id": "b"}, False),
        ({"order_id": "b", "platform": "wechat_channels"}, False),
    ],
)
def test_an_exemption_covers_the_orders_that_all_its_scopes_name(scopes, covered):
    order = paid(address=SHENZHEN)
    flags = judge([order, exempt("late_shipment", **scopes)], START + 60 * H)
    assert [flag.status for flag in flags] == ["exempt" if covered else "open"]
    extended = violations("late_shipment", order, exempt("late_shipment", until=55 * H, **scopes))
    assert extended == [55 * H if covered else 48 * H]


def test_the_region_is_that_of_the_delivery_address_in_force():
    events = [uploaded(0 * H), paid(address=SHENZHEN), exempt("*", region="浙江省")]
    assert {flag.status for flag in judge(events, START + 30 * H)} == {"open"}
    assert {flag.status for flag in judge([*events, moved_to(HANGZHOU, 29 * H)], START + 30 * H)} == {"exempt"}
    unpaid = [uploaded(0 * H), moved_to(HANGZHOU, 29 * H), exempt("*", region="浙江省")]
    assert {flag.status for flag in judge(unpaid, START + 30 * H)} == {"exempt"}


def test_an_order_without_payment_is_of_no_platform_and_no_merchant():
    for scopes in ({"platform": "wechat_channels"}, {"merchant_id": "m"}):
        flags = judge([uploaded(0 * H), exempt("*", **scopes)], START + 30 * H)
        assert {flag.status for flag in flags} == {"open"}


@pytest.mark.parametrize(
    ("begin", "end", "covered"),
    [
        (48 * H, None, True),
        (48 * H + US, None, False),
        (None, 48 * H, True),
        (None, 48 * H - US, False),
        (48 * H, 48 * H, True),
        (0 * H, 47 * H, False),
        (49 * H, 90 * H, False),
    ],
)
def test_an_exemption_with_a_period_is_for_deadlines_in_it_both_ends_included(begin, end, covered):
    events = [paid(), exempt("late_shipment", begin=begin, end=end)]
    assert [flag.status for flag in judge(events, START + 60 * H)] == ["exempt" if covered else "open"]
    moved = exempt("late_shipment", begin=begin, end=end, until=100 * H)
    assert violations("late_shipment", paid(), moved) == [100 * H if covered else 48 * H]


def test_the_deadline_before_any_extension_decides_whether_it_lies_in_the_period():
    events = [paid(), exempt("late_shipment", until=100 * H), exempt("late_shipment", begin=90 * H, end=110 * H)]
    assert {flag.status for flag in judge(events, START + 110 * H)} == {"open"}
    events[-1] = exempt("late_shipment", begin=48 * H, end=48 * H)
    assert {flag.status for flag in judge(events, START + 110 * H)} == {"exempt"}


def test_what_counts_from_a_moved_deadline_has_its_own_deadline_before_any_extension():
    events = [paid(), exempt("late_shipment", until=60 * H)]
    assert violations("unable_to_ship", *events, exempt("*", begin=108 * H, end=108 * H, until=120 * H)) == [120 * H]
    assert violations("unable_to_ship", *events, exempt("*", begin=96 * H, end=96 * H, until=120 * H)) == [108 * H]


@pytest.mark.parametrize(("begin", "covered"), [(10 * H, True), (10 * H + US, False)])
def test_for_rules_without_deadline_the_violation_lies_in_the_period(begin, covered):
    events = [paid(10 * H), uploaded(11 * H), scan("picked_up", 9 * H), scan("in_transit", 10 * H)]
    flags = judge([*events, exempt("*", begin=begin)], START + 12 * H)
    assert [flag.status for flag in flags] == ["exempt" if covered else "open"]


def test_an_exemption_counts_whenever_it_is_granted():
    late = fact("exemption_granted", 500 * H, rules=["*"], platform="wechat_channels")
    assert {flag.status for flag in judge([paid(), late])} == {"exempt"}


# ------------------------------------------------------------------------------------------------------------- profiles


@pytest.mark.parametrize(("paid_at", "deadline"), [(2 * H - US, 74 * H - US), (2 * H, 50 * H)])
def test_an_order_is_judged_by_the_version_in_force_when_it_was_paid(paid_at, deadline):
    assert violations("late_shipment", paid(paid_at, platform="testmarket")) == [deadline]
    assert violations("unable_to_ship", paid(paid_at, platform="testmarket")) == [deadline + 24 * H]


@pytest.mark.parametrize(
    ("up", "deadline"),
    [(2 * H - US, 25 * H - US), (2 * H, 50 * H), (48 * H - US, 96 * H - US), (48 * H, 72 * H)],
)
def test_a_shipment_is_judged_by_the_version_in_force_at_its_earliest_upload(up, deadline):
    events = [paid(platform="testmarket"), uploaded(up), uploaded(700 * H)]
    assert violations("no_pickup_scan", *events) == [deadline]


def test_a_version_builds_on_the_one_before():
    events = [paid(platform="testmarket"), uploaded(48 * H), scan("picked_up", 50 * H)]
    assert violations("stalled_after_pickup", *events) == [52 * H]


@pytest.mark.parametrize(("up", "violated"), [(1 * H, [27 * H]), (2 * H, []), (48 * H - US, []), (48 * H, [4 * H])])
def test_a_version_turns_a_rule_off_and_on(up, violated):
    events = [paid(platform="testmarket"), uploaded(up), scan("picked_up", 3 * H)]
    assert violations("first_hub_overdue", *events) == violated


@pytest.mark.parametrize(
    ("at", "deadline"), [(2 * H - US, 50 * H - US), (2 * H, 26 * H), (48 * H - US, 72 * H - US), (48 * H, 120 * H)]
)
def test_a_case_is_judged_by_the_version_in_force_when_it_was_opened(at, deadline):
    assert violations("aftersale_answer_overdue", paid(platform="testmarket"), opened(at)) == [deadline]


@pytest.mark.parametrize(
    ("paid_at", "hours"), [(1 * H - US, 24 * H), (1 * H, 72 * H), (2 * H - US, 72 * H), (2 * H, 48 * H)]
)
def test_a_promotion_is_for_orders_paid_from_its_start_until_before_its_end(paid_at, hours):
    assert violations("late_shipment", paid(paid_at, platform="testmarket")) == [paid_at + hours]


def test_a_promotion_builds_on_the_version_of_the_act_and_changes_only_what_it_names():
    events = [paid(24 * H, platform="testmarket"), uploaded(30 * H)]
    assert violations("no_pickup_scan", *events) == [31 * H]
    assert violations("stalled_after_pickup", *events, scan("picked_up", 31 * H)) == [33 * H]
    assert violations("late_shipment", events[0]) == [72 * H]
    assert violations("unable_to_ship", events[0]) == [74 * H]
    delivered = [uploaded(30 * H), scan("delivered", 31 * H, HANGZHOU)]
    assert violations("address_mismatch", paid(24 * H, platform="testmarket", address=SHENZHEN), *delivered) == []
    assert violations("address_mismatch", paid(48 * H, platform="testmarket", address=SHENZHEN), *delivered) == [31 * H]


@pytest.mark.parametrize(
    ("paid_at", "category", "promised", "hours"),
    [
        (0 * H, None, None, 24),
        (0 * H, None, 720, 720),
        (0 * H, "unknown", None, 24),
        (0 * H, "unknown", 720, 720),
        (0 * H, "presale", None, 96),
        (0 * H, "presale", 1, 1),
        (0 * H, "presale", 120, 120),
        (0 * H, "presale", 121, 96),
        (2 * H, "presale", 144, 144),
        (2 * H, "presale", 145, 120),
        (0 * H, "tiered", None, 72),
        (0 * H, "tiered", 720, 720),
        (48 * H, "tiered", None, 24),
        (0 * H, "special", None, 25),
        (0 * H, "special", 72, 72),
        (0 * H, "special", 73, 25),
        (1 * H, "presale", 1, 72),
        (1 * H, None, 720, 72),
        (24 * H, "stock", None, 2),
        (24 * H, None, 720, 720),
    ],
)
def test_how_long_an_order_may_take_is_said_by_the_first_that_says_it(paid_at, category, promised, hours):
    order = paid(paid_at, platform="testmarket", category=category, ship_within_hours=promised)
    assert violations("late_shipment", order) == [paid_at + hours * H]
    further = 2 if paid_at == 24 * H else 24
    assert violations("unable_to_ship", order) == [paid_at + (hours + further) * H]


@pytest.mark.parametrize(
    ("platform", "category", "promised", "hours"),
    [
        ("wechat_channels", "presale", None, 360),
        ("wechat_channels", "presale", 360, 360),
        ("wechat_channels", "presale", 361, 360),
        ("wechat_channels", "presale", 96, 96),
        ("wechat_channels", "stock", None, 48),
        ("wechat_channels", "stock", 72, 72),
        ("wechat_channels", "stock", 73, 48),
        ("douyin", "tiered", None, 120),
        ("douyin", "special", 361, 360),
        ("douyin", "presale", None, 48),
        ("elsewhere", "presale", None, 48),
    ],
)
def test_the_shipping_categories_that_come_with_the_project(platform, category, promised, hours):
    order = paid(platform=platform, category=category, ship_within_hours=promised)
    assert violations("late_shipment", order) == [hours * H]


@pytest.mark.parametrize("category", ["custom_made", "bulky", "preorder", "second_hand"])
def test_orders_of_an_excluded_category_are_not_judged_at_all(category):
    events = [uploaded(1 * H), opened(2 * H), resent(3 * H)]
    assert judge([paid(category=category), *events], START + 900 * H) == set()
    assert judge([paid(platform="testmarket", category="custom_made"), *events], START + 900 * H, EVERYWHERE) == set()
    assert judge([paid(platform="douyin", category=category), *events], START + 900 * H) != set()


def test_an_upload_for_an_order_that_is_not_judged_still_uses_its_number():
    events = [paid(recipient=ZHANG), paid(order="b", recipient=LI, category="bulky"), uploaded(1 * H, order="b")]
    assert violations("waybill_reused", *events, uploaded(2 * H)) == [2 * H]


def test_thresholds_are_the_platforms():
    events = [paid(platform="testmarket", recipient=ZHANG), paid(order="b", recipient=LI), uploaded(0 * H, order="b")]
    assert violations("waybill_reused", *events, uploaded(48 * H - US)) == [48 * H - US]
    assert violations("waybill_reused", *events, uploaded(48 * H)) == []
    pickups = [scan("picked_up", 1 * H), scan("picked_up", 49 * H + US)]
    assert violations("repeated_pickup", *events, uploaded(48 * H), *pickups) == [49 * H + US]
    assert violations("repeated_pickup", *events, uploaded(48 * H), pickups[0], scan("picked_up", 49 * H)) == []


# ------------------------------------------------------------------------------------------------------------ transfers


def judged_by(*events: Event, platform: str = "wechat_channels") -> str:
    """The waybill whose scans count for the shipment of waybill 1."""
    history = [paid(platform=platform), uploaded(0 * H), *events]
    kept = [no for no in "123" if not violations("no_pickup_scan", *history, scan("picked_up", 0 * H, waybill=no))]
    return "".join(kept)


def test_a_transfer_counts_in_the_province_that_the_parcel_started_from_and_nowhere_else():
    events = [scan("departed_facility", 1 * H, SHENZHEN), replaced(2 * H, "1", "2", location=GUANGDONG)]
    assert judged_by(*events) == "2"
    events[1] = replaced(2 * H, "1", "2", location=ZHEJIANG)
    assert judged_by(*events) == "1"
    assert judged_by(*events, platform="douyin") == judged_by(*events, platform="elsewhere") == "2"
    assert judged_by(*events, platform="testmarket") == "1"


@pytest.mark.parametrize(("kind", "counts"), [(None, False), ("transfer", False), ("correction", True)])
def test_a_correction_counts_wherever_it_is_made(kind, counts):
    events = [scan("departed_facility", 1 * H, SHENZHEN), replaced(2 * H, "1", "2", location=ZHEJIANG, kind=kind)]
    assert judged_by(*events) == ("2" if counts else "1")


def transferred(*scans: tuple[str, timedelta, dict[str, str] | None], location: Any = None) -> bool:
    """Whether a replacement at 10 hours counts, given scans of the old waybill."""
    events = [scan(status, at, place) for status, at, place in scans]
    # Only the new waybill is delivered, in the wrong city: where that is flagged, the replacement counts.
    events += [replaced(10 * H, "1", "2", location=location), scan("delivered", 60 * H, HANGZHOU, waybill="2")]
    return violations("address_mismatch", paid(address=SHENZHEN), uploaded(50 * H), *events) == [60 * H]


def test_a_parcel_starts_where_it_was_first_picked_up_else_where_it_was_first_seen():
    early, late = ("info_received", 1 * H, HANGZHOU), ("picked_up", 3 * H, SHENZHEN)
    assert transferred(early, late, location=GUANGDONG)
    assert not transferred(early, late, location=ZHEJIANG)
    assert transferred(early, ("picked_up", 3 * H, None), location=ZHEJIANG)
    assert not transferred(early, ("in_transit", 3 * H, SHENZHEN), location=GUANGDONG)
    assert not transferred(("picked_up", 2 * H, HANGZHOU), late, location=GUANGDONG)
    assert transferred(("picked_up", 2 * H, None), late, location=GUANGDONG)
    assert transferred(("in_transit", 20 * H, SHENZHEN), location=GUANGDONG)


def test_at_one_moment_a_parcel_starts_in_the_smallest_code_and_changes_hands_in_the_largest():
    both = ("picked_up", 3 * H, SHENZHEN), ("picked_up", 3 * H, HANGZHOU)
    assert transferred(*both, location=ZHEJIANG)
    assert not transferred(*both, location=GUANGDONG)
    assert not transferred(*both)


def test_a_parcel_changes_hands_at_the_place_given_else_where_it_was_last_seen():
    start = ("picked_up", 3 * H, SHENZHEN)
    assert transferred(start)
    assert not transferred(start, ("arrived_at_facility", 10 * H, HANGZHOU))
    assert transferred(start, ("arrived_at_facility", 10 * H + US, HANGZHOU))
    assert transferred(start, ("arrived_at_facility", 8 * H, HANGZHOU), ("in_transit", 9 * H, SHENZHEN))
    assert not transferred(start, ("arrived_at_facility", 8 * H, HANGZHOU), ("in_transit", 9 * H, None))
    assert transferred(start, ("arrived_at_facility", 8 * H, HANGZHOU), location=GUANGDONG)
    assert not transferred(start, ("arrived_at_facility", 8 * H, HANGZHOU), location={"facility": "转运中心"})


def test_where_either_place_is_unknown_the_replacement_counts():
    assert transferred()
    assert transferred(location=ZHEJIANG)
    assert transferred(("picked_up", 11 * H, SHENZHEN))


def test_of_several_replacements_that_count_the_latest_does():
    start = scan("departed_facility", 1 * H, SHENZHEN)
    abroad = replaced(3 * H, "1", "2", location=ZHEJIANG)
    assert judged_by(start, replaced(2 * H, "1", "3", location=GUANGDONG), abroad) == "3"
    assert judged_by(start, abroad, replaced(3 * H, "1", "2", location=GUANGDONG)) == "2"
    assert judged_by(start, replaced(3 * H, "1", "2"), replaced(3 * H, "1", "3", location=GUANGDONG)) == "3"


def test_each_link_of_a_chain_is_asked_where_its_own_old_waybill_started():
    links = [replaced(2 * H, "1", "2", location=GUANGDONG), replaced(4 * H, "2", "3", location=ZHEJIANG)]
    scans = [scan("departed_facility", 1 * H, SHENZHEN), scan("departed_facility", 3 * H, HANGZHOU, waybill="2")]
    assert judged_by(*scans, *links) == "3"
    scans[1] = scan("departed_facility", 3 * H, SHENZHEN, waybill="2")
    assert judged_by(*scans, *links) == "2"


# -------------------------------------------------------------------------------------------------------------- at risk


def warned(*events: Event, as_of: timedelta, hours: float = 24) -> set[tuple[str, timedelta, str]]:
    flags = judge(events, START + as_of, EVERYWHERE, warn_hours=hours)
    return {(flag.rule, flag.violated_at - START, flag.status) for flag in flags}


def test_what_will_be_missed_within_the_hours_of_warning_is_at_risk():
    at_risk = {("late_shipment", 48 * H, "at_risk")}
    assert warned(paid(), as_of=24 * H) == set()
    assert warned(paid(), as_of=24 * H + US) == at_risk
    assert warned(paid(), as_of=48 * H) == at_risk
    assert warned(paid(), as_of=48 * H + US) == {("late_shipment", 48 * H, "open")}
    assert warned(paid(), as_of=47 * H, hours=0.5) == set()
    assert {flag.status for flag in judge([paid()], START + 40 * H)} == set()


def test_what_is_met_lifted_or_excused_is_not_at_risk():
    assert warned(paid(), cancelled(30 * H), as_of=40 * H) == set()
    assert warned(paid(), exempt("*"), as_of=40 * H) == set()
    assert warned(paid(), exempt("*", begin=49 * H), as_of=40 * H) == {("late_shipment", 48 * H, "at_risk")}
    met = [uploaded(1 * H), scan("picked_up", 2 * H), scan("delivered", 3 * H)]
    assert warned(paid(), *met, as_of=40 * H) == set()


def test_a_warning_is_about_the_deadline_as_moved():
    moved = exempt("late_shipment", until=60 * H)
    assert warned(paid(), moved, as_of=36 * H) == set()
    assert warned(paid(), moved, as_of=36 * H + US) == {("late_shipment", 60 * H, "at_risk")}


# -------------------------------------------------------------------------------------------------------- data for both


@pytest.mark.parametrize(
    ("address", "region", "within"),
    [
        ({"province": "广东省", "city": "深圳市", "district": "南山区"}, "440305", True),
        ({"text": "广东省深圳市南山区，科技园1栋"}, "深圳市", True),
        ({"province": "广东省", "detail": "某处"}, "广东省", True),
        ({"province": "广东省", "detail": "某处"}, "深圳市", False),
        ({"province": "湖北省", "city": "省直辖县级行政区划", "district": "仙桃市"}, "湖北省仙桃市", True),
        ({"detail": "某处"}, "广东省", False),
        (None, "广东省", False),
    ],
)
def test_which_region_an_address_lies_in(address, region, within):
    assert lies_within(code_of(address), region_code(region)) == within


def rules_of(written: dict[str, Any]) -> dict[str, Says]:
    return {rule: Says(said.get("limit_hours"), said.get("enabled")) for rule, said in written.items()}


def platform_of(written: dict[str, Any]) -> Platform:
    """A profile's file as the oracle has it. A rule that a profile names is on."""

    def categories(part: dict[str, Any]) -> dict[str, Category]:
        return {name: Category(**said) for name, said in part.get("shipping_categories", {}).items()}

    return Platform(
        {rule: Says(said.hours, said.on is not False) for rule, said in rules_of(written["rules"]).items()},
        transfers=written.get("transfers", "anywhere"),
        excluded=frozenset(written.get("excluded_categories", ())),
        categories=categories(written),
        versions=tuple(
            Version(version["effective_from"], rules_of(version.get("rules", {})), categories(version))
            for version in written.get("versions", ())
        ),
        promotions=tuple(
            Promotion(promotion["paid_from"], promotion["paid_until"], rules_of(promotion.get("rules", {})))
            for promotion in written.get("promotions", ())
        ),
    )


@pytest.mark.parametrize("file", sorted(Path("detectors/profiles").glob("*.toml")), ids=lambda file: file.stem)
def test_the_oracle_knows_the_profiles_that_are_shipped(file):
    assert platform_of(tomllib.loads(file.read_text("utf-8"))) == PLATFORMS[file.stem]


def test_the_oracle_knows_the_profile_of_the_test_market():
    assert platform_of(tomllib.loads(Path("tests/profiles/testmarket.toml").read_text("utf-8"))) == TESTMARKET
