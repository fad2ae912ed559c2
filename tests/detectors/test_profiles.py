"""What a profile may say, what is wrong with one that does not, and which edition of it holds when."""

from decimal import Decimal

import pytest

from detectors._profiles import Edition, ProfileError, Profiles, parse_profile

MINIMAL = 'platform = "mine"\n'


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ProfileError) as caught:
        parse_profile(text, "mine.toml")
    assert str(caught.value).startswith("mine.toml: ")
    return caught.value.problems


def editions(text: str) -> list[Edition]:
    return list(parse_profile(MINIMAL + text, "mine.toml").editions())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("platform", "not TOML: Expected '=' after a key in a key/value pair (at end of document)"),
        ("[rules]", "platform: missing"),
        (MINIMAL, "rules: missing"),
        (MINIMAL + "rules = 3", "rules: must be a table, got 3"),
        (MINIMAL + "[rules.no_pickup_scn]", "rules.no_pickup_scn: no such rule; did you mean no_pickup_scan?"),
        (MINIMAL + "[rules.address_mismatch]\nlimit_hours = 1",
         "rules.address_mismatch.limit_hours: this rule has no limit; remove the key"),
        (MINIMAL + "[rules.no_pickup_scan]\nlimit_hours = 0", "rules.no_pickup_scan.limit_hours: must be more than 0, got 0"),
        (MINIMAL + "[rules.no_pickup_scan]\nlimit_hours = 10000",
         "rules.no_pickup_scan.limit_hours: must be at most 8784, got 10000"),
        (MINIMAL + "[rules.no_pickup_scan]\nenabled = 1", "rules.no_pickup_scan.enabled: must be true or false, got 1"),
        (MINIMAL + '[rules.no_pickup_scan]\nseverity = "bad"',
         "rules.no_pickup_scan.severity: must be 'low', 'medium' or 'high', got 'bad'"),
        (MINIMAL + "[rules.late_shipment]\ncompensation_percent = 101",
         "rules.late_shipment.compensation_percent: must be at most 100, got 101"),
        (MINIMAL + "[rules.late_shipment]\ncompensation_yuan = 0.005",
         "rules.late_shipment.compensation_yuan: must have at most 2 decimal places, got 0.005"),
        (MINIMAL + "[rules.late_shipment]\nclauses = 3", "rules.late_shipment.clauses: unknown key; did you mean clause?"),
        (MINIMAL + 'transfer = "anywhere"\n[rules]', "transfer: unknown key; did you mean transfers?"),
        (MINIMAL + 'transfers = "nowhere"\n[rules]', "transfers: must be 'anywhere' or 'origin_province', got 'nowhere'"),
        (MINIMAL + 'timezone = "Asia/Nowhere"\n[rules]', "timezone: 'Asia/Nowhere' is none; give a name such as Asia/Shanghai"),
        (MINIMAL + "[rules]\n[shipping_categories.presale]\nhours = 100\nhours_max = 99",
         "shipping_categories.presale: hours (100) must not be more than hours_max (99)"),
        (MINIMAL + "[rules]\n[[versions]]\n[versions.rules.late_shipment]\nlimit_hours = 1", "versions.0.effective_from: missing"),
        (MINIMAL + '[rules]\n[[versions]]\neffective_from = "2026-01-01"',
         "versions.0.effective_from: must be a time such as 2026-11-11T00:00:00+08:00, without quotes, got '2026-01-01'"),
        (MINIMAL + "[rules]\n[[versions]]\neffective_from = 2026-01-01T00:00:00",
         "versions.0.effective_from: needs an offset such as +08:00, got 2026-01-01 00:00:00"),
        (MINIMAL + "[rules]\n" + 2 * "[[versions]]\neffective_from = 2026-01-01T00:00:00Z\n",
         "versions: two have the same effective_from"),
        (MINIMAL + "[rules]\n[[versions]]\neffective_from = 2026-01-01T00:00:00Z\n[versions.rules.late_shipping]",
         "versions.0.rules.late_shipping: no such rule; did you mean late_shipment?"),
        (MINIMAL + '[rules]\n[[promotions]]\nname = "x"\npaid_from = 2026-01-02T00:00:00Z\npaid_until = 2026-01-02T00:00:00Z',
         "promotions.0: paid_until (2026-01-02 00:00:00+00:00) must be later than paid_from (2026-01-02 00:00:00+00:00)"),
        (MINIMAL + '[rules]\n[[promotions]]\nname = "x"\npaid_from = 2026-01-01T00:00:00Z\npaid_until = 2026-01-03T00:00:00Z\n'
         '[[promotions]]\nname = "y"\npaid_from = 2026-01-02T23:59:59Z\npaid_until = 2026-01-04T00:00:00Z',
         "promotions: 'x' and 'y' overlap; an order is in one at most"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_key_value_and_what_is_allowed(text: str, problem: str) -> None:
    assert problems(text) == (problem,)


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert len(problems("x = 1\n[rules.late_shipment]\nlimit_hours = true\nseverity = 3")) == 4


def test_amounts_are_read_as_they_are_written() -> None:
    text = "[rules.late_shipment]\ncompensation_percent = 0.1\nlimit_hours = 1.5\n[rules.resend_overdue]\ncompensation_yuan = 3"
    rules = editions(text)[0].rules
    assert rules["late_shipment"].compensation_percent == Decimal("0.1")
    assert rules["late_shipment"].limit_hours == 1.5
    assert rules["resend_overdue"].compensation_yuan == Decimal(3)


VERSIONS = """
[rules.no_pickup_scan]
limit_hours = 20
clause = "1"
[shipping_categories.presale]
hours = 100
[[versions]]
effective_from = 2026-03-01T00:00:00Z
[versions.rules.no_pickup_scan]
severity = "low"
[[versions]]
effective_from = 2026-02-01T00:00:00Z
[versions.rules.no_pickup_scan]
limit_hours = 30
[versions.shipping_categories.presale]
hours = 50
[[promotions]]
name = "sale"
paid_from = 2026-01-15T00:00:00Z
paid_until = 2026-02-15T00:00:00Z
[promotions.rules.no_pickup_scan]
limit_hours = 40
"""


def test_each_version_builds_on_the_one_before_and_promotions_on_each() -> None:
    said = [
        (
            edition.effective_from and edition.effective_from.month,
            edition.effective_until and edition.effective_until.month,
            edition.promotion and edition.promotion.name,
            edition.rules["no_pickup_scan"].limit_hours,
            edition.rules["no_pickup_scan"].severity,
            edition.rules["no_pickup_scan"].clause,
            edition.shipping_categories["presale"].hours,
        )
        for edition in editions(VERSIONS)
    ]
    assert said == [
        (None, 2, None, 20, "medium", "1", 100),
        (None, 2, "sale", 40, "medium", "1", 100),
        (2, 3, None, 30, "medium", "1", 50),
        (2, 3, "sale", 40, "medium", "1", 50),
        (3, None, None, 30, "low", "1", 50),
        (3, None, "sale", 40, "low", "1", 50),
    ]


def test_a_promotion_of_other_rules_says_nothing_of_shipping() -> None:
    assert not any(edition.promotes_shipping for edition in editions(VERSIONS))
    assert editions(VERSIONS.replace("promotions.rules.no_pickup_scan", "promotions.rules.late_shipment"))[
        1
    ].promotes_shipping


def test_a_platform_without_a_profile_has_that_of_default() -> None:
    default, mine = (parse_profile(f'platform = "{name}"\n[rules]', name) for name in ("default", "mine"))
    profiles = Profiles.ordered([mine, default])
    assert profiles.of("mine") is mine
    assert profiles.of("elsewhere") is profiles.of(None) is profiles.every[0] is default
    with pytest.raises(ProfileError, match="none has platform = 'default'"):
        Profiles.ordered([mine])
