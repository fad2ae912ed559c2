"""What the platforms' profiles say, for the oracle: as plain data, written a second time.

`PLATFORMS` are the profiles that are shipped. `TESTMARKET` is tests/profiles/testmarket.toml: a platform that has everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.oracle_facts import HOUR


@dataclass(frozen=True)
class Says:
    """What one place of a profile says about one rule; None: nothing."""

    hours: float | None = None
    on: bool | None = None


@dataclass(frozen=True)
class Category:
    """How many hours orders of a category may take where they promise nothing or too much, and the longest promise that counts."""

    hours: float
    hours_max: float | None = None


@dataclass(frozen=True)
class Version:
    """What changes for acts from `effective_from` on."""

    effective_from: datetime
    rules: Mapping[str, Says] = field(default_factory=dict)
    categories: Mapping[str, Category] = field(default_factory=dict)


@dataclass(frozen=True)
class Promotion:
    """What is different for orders paid in [paid_from, paid_until)."""

    paid_from: datetime
    paid_until: datetime
    rules: Mapping[str, Says]


@dataclass(frozen=True)
class Terms:
    """What holds for one act."""

    rules: Mapping[str, Says]
    categories: Mapping[str, Category]
    promoted: Mapping[str, Says]
    """What the promotion alone says, where there is one."""

    def on(self, rule: str) -> bool:
        """Return whether the rule is judged."""
        return bool(self.rules[rule].on)

    def limit(self, rule: str) -> timedelta:
        """Return the rule's threshold, whether it is judged or not."""
        hours = self.rules[rule].hours
        assert hours is not None, f"{rule} has no limit"
        return hours * HOUR

    def ship_within(self, promised: float | None, category: str | None) -> timedelta:
        """Return how long an order may take: the first of these that there is."""
        promotion = self.promoted.get("late_shipment", Says()).hours
        of_category = self.categories.get(category or "")
        longest = of_category.hours_max if of_category else None
        counts = promised if promised is None or longest is None or promised <= longest else None
        for hours in (promotion, counts, of_category.hours if of_category else None):
            if hours is not None:
                return hours * HOUR
        return self.limit("late_shipment")


@dataclass(frozen=True)
class Platform:
    """A profile. `versions` and `promotions` in the order of time."""

    rules: Mapping[str, Says]
    transfers: str = "anywhere"
    excluded: frozenset[str] = frozenset()
    categories: Mapping[str, Category] = field(default_factory=dict)
    versions: tuple[Version, ...] = ()
    promotions: tuple[Promotion, ...] = ()

    def terms(self, act: datetime, paid: datetime | None) -> Terms:
        """Return what holds for something done at `act` about an order paid at `paid` (None: not known)."""
        rules, categories = dict(UNSAID), dict(self.categories)
        lay_over(rules, self.rules)
        for version in self.versions:
            if version.effective_from <= act:
                lay_over(rules, version.rules)
                categories |= version.categories
        promoted = [p for p in self.promotions if paid is not None and p.paid_from <= paid < p.paid_until]
        for promotion in promoted:
            lay_over(rules, promotion.rules)
        return Terms(rules, categories, promoted[0].rules if promoted else {})


def lay_over(rules: dict[str, Says], said: Mapping[str, Says]) -> None:
    """Replace of each rule only what is said anew."""
    for rule, new in said.items():
        old = rules[rule]
        rules[rule] = Says(hours=old.hours if new.hours is None else new.hours, on=old.on if new.on is None else new.on)


EVERYWHERE: Final = {
    "pickup_before_payment": Says(on=True),
    "no_pickup_scan": Says(24, on=True),
    "stalled_after_pickup": Says(24, on=True),
    "waybill_reused": Says(720, on=True),
    "address_mismatch": Says(on=True),
    "repeated_pickup": Says(24, on=True),
    "late_shipment": Says(48, on=True),
    "unable_to_ship": Says(48, on=True),
}
ON_DOUYIN: Final = {
    "pickup_overdue": Says(72, on=True),
    "first_hub_overdue": Says(24, on=True),
    "aftersale_answer_overdue": Says(48, on=True),
    "return_shipment_overdue": Says(168, on=True),
    "return_receipt_overdue": Says(168, on=True),
    "refund_overdue": Says(48, on=True),
    "resend_answer_overdue": Says(48, on=True),
    "resend_overdue": Says(48, on=True),
}
UNSAID: Final = EVERYWHERE | {rule: Says(said.hours, on=False) for rule, said in ON_DOUYIN.items()}
"""What holds where a profile says nothing."""

START: Final = datetime(2026, 3, 1, tzinfo=UTC)
"""When the histories of tests/histories.py start; the times of `TESTMARKET` lie on their grid."""

PLATFORMS: Final = {
    "default": Platform(EVERYWHERE),
    "wechat_channels": Platform(
        EVERYWHERE,
        transfers="origin_province",
        excluded=frozenset({"custom_made", "bulky", "preorder", "second_hand"}),
        categories={"presale": Category(360, 360), "stock": Category(48, 72)},
    ),
    "douyin": Platform(
        EVERYWHERE | ON_DOUYIN, categories={"tiered": Category(120, 120), "special": Category(360, 360)}
    ),
}
"""By `order_paid.platform`; `default` is for every other platform, and for what has no payment."""

TESTMARKET: Final = Platform(
    EVERYWHERE
    | ON_DOUYIN
    | {"no_pickup_scan": Says(23, on=True), "late_shipment": Says(24, on=True), "unable_to_ship": Says(24, on=True)}
    | {"waybill_reused": Says(48, on=True), "resend_overdue": Says(24, on=True)},
    transfers="origin_province",
    excluded=frozenset({"custom_made"}),
    categories={
        "presale": Category(96, 120),
        "stock": Category(2, 2),
        "tiered": Category(hours=72),
        "special": Category(25, 72),
    },
    versions=(
        Version(
            START + 2 * HOUR,
            rules={
                "no_pickup_scan": Says(48),
                "stalled_after_pickup": Says(2),
                "late_shipment": Says(48),
                "aftersale_answer_overdue": Says(24),
                "return_shipment_overdue": Says(72),
                "refund_overdue": Says(24),
                "first_hub_overdue": Says(on=False),
            },
            categories={"presale": Category(120, 144)},
        ),
        Version(
            START + 48 * HOUR,
            rules={
                "no_pickup_scan": Says(24),
                "repeated_pickup": Says(48),
                "waybill_reused": Says(24),
                "aftersale_answer_overdue": Says(72),
                "first_hub_overdue": Says(1, on=True),
                "pickup_before_payment": Says(on=False),
                "resend_overdue": Says(48),
            },
            categories={"tiered": Category(hours=24)},
        ),
    ),
    promotions=(
        Promotion(
            START + 1 * HOUR,
            START + 2 * HOUR,
            rules={"late_shipment": Says(72), "pickup_overdue": Says(96), "resend_answer_overdue": Says(72)},
        ),
        Promotion(
            START + 24 * HOUR,
            START + 48 * HOUR,
            rules={"no_pickup_scan": Says(1), "address_mismatch": Says(on=False), "unable_to_ship": Says(2)},
        ),
    ),
)
