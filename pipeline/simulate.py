"""A realistic stream of events with planted violations, and the labels that say which flags it must raise.

The same arguments give the same bytes, every time and everywhere. Events come in the order in which the platform learns of them
(`received_at`), which is not the order in which they happen: carriers report late, in batches, out of order and twice.

The stream ends at an instant in the middle of everyday life, with parcels still under way. Whatever happened before it has been
received by then, so the labels are what must be flagged when the clock stands at the largest `received_at`.
"""

import gzip
import json
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

import zstandard

from pipeline.simulation.labels import Label, labels_of
from pipeline.simulation.plans import EVERY_PLAN, tell_story
from pipeline.simulation.stories import (
    DAY,
    EARLIEST,
    HOUR,
    MINUTE,
    SECOND,
    Case,
    Exemption,
    Order,
    Parcel,
    Scan,
    Story,
    Teller,
)
from pipeline.simulation.world import FAMILY_NAMES, HOURLY_LOAD, Address, City

START: Final = datetime.fromisoformat("2026-03-01T00:00:00+08:00")
"""When the first order of a file is paid, if not said otherwise."""
INVALID_SHARE: Final = 0.0005
"""How many invalid messages there are, by default, for every valid one."""
ORDERS: Final = "orders"
SCANS: Final = "scans"

Progress = Callable[[int], None]
"""Called now and then with the number of orders told so far."""
Send = Callable[[str, str, bytes, int], None]
"""Sends one message: to the topic of `orders` or `scans`, with this key and value, and the record's time in ms since 1970."""

_DAYS_MIN: Final = 14
_ORDERS_PER_DAY: Final = 10_000
_STORIES_PER_STEP: Final = 500
_ORDERS_PER_MERCHANT: Final = 150
_UTC_OFFSET: Final = 8 * HOUR
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Message(NamedTuple):
    """One event as it is sent. `received_at` is in microseconds since 1970, `number` counts the messages as they were made."""

    received_at: int
    number: int
    topic: str
    key: str
    value: str


class Summary(NamedTuple):
    """What has been written. `as_of` is the largest `received_at`: the clock at which the labels hold."""

    events: int
    invalid: int
    labels: int
    as_of: datetime


class Simulation:
    """One stream, told once.

    Args:
        orders: How many orders; a few more, which share a number with one of these, come on top. With 200 or more, every
            rule is broken, kept to the limit, and broken by a microsecond at least once.
        seed: Another seed, another stream.
        start: When the first order is paid.
        days: For how long orders are paid; by default two weeks, or longer if that is more than 10,000 orders a day.
        invalid_share: How many invalid messages there are for every valid one.

    Attributes:
        events: How many valid events there have been so far.
        invalid: How many invalid messages.
        as_of: The largest `received_at` so far, in microseconds since 1970.
    """

    def __init__(
        self,
        orders: int,
        seed: int,
        *,
        start: datetime = START,
        days: int | None = None,
        invalid_share: float = INVALID_SHARE,
    ) -> None:
        assert orders > 0, "a stream has orders"
        self._orders = orders
        self._start = _microseconds(start)
        self._end = self._start + (days or days_of(orders)) * DAY
        self._invalid_share = invalid_share
        self._teller = Teller(seed, merchants=min(2000, max(40, orders // _ORDERS_PER_MERCHANT)))
        # Later than any plan is told, so that those about the closures can come to it.
        self._teller.close(self._start + (self._end - self._start) * 2 // 3 // HOUR * HOUR)
        self._closures = [closure for closure in self._teller.closures if closure.at <= self._end]
        self._pending: dict[int, list[Message]] = {}
        self._labels: list[Label] = []
        self._number = 0
        self.events = 0
        self.invalid = 0
        self.as_of = self._start

    def messages(self, progress: Progress | None = None) -> Iterator[list[Message]]:
        """Tell the stream, in lists of messages, in order of `received_at` all through. Once only."""
        # The first part has every plan once, early enough for its consequences to show before the end.
        planned = {self._orders * 3 * i // (5 * len(EVERY_PLAN)): plan for i, plan in enumerate(EVERY_PLAN)}
        for closure in self._closures:
            self._write_closure(closure)
        hour = self._start // HOUR - EARLIEST // HOUR
        for told in range(self._orders):
            paid = self._paid_at(told)
            story = tell_story(self._teller, paid, planned.get(told))
            story.cut(self._end)
            self._labels += labels_of(story, self._closures)
            self._write(story)
            if told % _STORIES_PER_STEP == 0:
                until = (paid - EARLIEST) // HOUR
                yield from self._arrived(hour, until)
                hour = max(hour, until)
                if progress is not None:
                    progress(told)
        yield from self._arrived(hour, self._end // HOUR + 1)
        assert not self._pending, "every message has been sent"

    def labels(self) -> list[Label]:
        """Return the rules that are broken at `as_of`. Complete only after the last message."""
        return [label for label in self._labels if label.visible_after < self.as_of]

    def _arrived(self, first_hour: int, end_hour: int) -> Iterator[list[Message]]:
        for hour in range(first_hour, end_hour):
            if messages := self._pending.pop(hour, None):
                messages.sort()
                yield messages

    def _paid_at(self, told: int) -> int:
        """Return the time of the next payment: evenly over the days, but by day as people shop."""
        days, part_of_day = divmod((told + self._teller.dice.roll()) / self._orders * (self._end - self._start), DAY)
        load = part_of_day / DAY * _LOAD_UNTIL[-1]
        hour = bisect_right(_LOAD_UNTIL, load)
        part_of_hour = (load - _LOAD_UNTIL[hour] + HOURLY_LOAD[hour]) / HOURLY_LOAD[hour]
        return (self._start + int(days) * DAY + int((hour + part_of_hour) * HOUR)) // 1000 * 1000

    # --- stories as messages

    def _write(self, story: Story) -> None:
        for order in story.orders:
            self._write_order(order)
        for parcel in story.parcels:
            self._write_parcel(parcel)

    def _write_order(self, order: Order) -> None:
        order_id = _field("order_id", order.order_id)
        self._write_fact(order, order.paid, "order_paid", order_id + _payment(order))
        for at, parcel in order.uploads:
            self._write_fact(order, at, "waybill_uploaded", order_id + _waybill(parcel))
        for at, address in order.changes:
            self._write_fact(order, at, "address_changed", order_id + f',"address":{_address(address)}')
        for exemption in order.exemptions:
            self._write_fact(order, exemption.at, "exemption_granted", order_id + _exemption(exemption))
        for case in order.cases:
            for at, kind, tail in _case_events(case, order):
                self._write_fact(order, at, kind, f"{order_id},{_field('aftersale_id', case.aftersale_id)}{tail}")
        if order.cancelled_at is not None:
            tail = "," + _field("reason", self._teller.dice.pick(("不想要了", "拍错了", "商家缺货", "发货太慢")))
            self._write_fact(order, order.cancelled_at, "order_cancelled", order_id + tail)

    def _write_closure(self, closure: Exemption) -> None:
        scopes = {"platform": closure.platform, "merchant_id": closure.merchant_id, "region": closure.region}
        given = {name: scope for name, scope in scopes.items() if scope is not None}
        tail = ",".join(_field(name, scope) for name, scope in given.items()) + _exemption(closure)
        received_at = closure.at + self._teller.dice.between(0, 2 * SECOND)
        self._send(closure.at, received_at, ORDERS, ",".join(given.values()), "exemption_granted", tail)

    def _write_fact(self, order: Order, at: int, kind: str, tail: str) -> None:
        dice = self._teller.dice
        told_at = at if order.told_at is None else order.told_at
        self._send(at, told_at + dice.between(0, 2 * SECOND), ORDERS, order.order_id, kind, tail)
        if dice.chance(0.003):
            self._send(at, told_at + dice.between(2 * SECOND, DAY), ORDERS, order.order_id, kind, tail)

    def _write_parcel(self, parcel: Parcel) -> None:
        """Write the scans as carriers report them: mostly in minutes, some in batches, a few days late, now and then twice."""
        dice = self._teller.dice
        mood = dice.roll()
        batch = dice.between(2 * HOUR, 6 * HOUR) if mood < 0.07 else SECOND  # noqa: PLR2004  shares are data
        late = 0.2 if mood > 0.97 else 0.001  # noqa: PLR2004
        for scan in parcel.scans:
            delay = dice.between(2 * SECOND, 10 * MINUTE) if dice.roll() > late else dice.between(HOUR, 3 * DAY)
            tail = _waybill(parcel)[1:] + self._scan(parcel, scan)
            self._send_scan(scan, (scan.at + delay) // batch * batch + batch, parcel, tail)
            if dice.chance(0.01):
                self._send_scan(scan, scan.at + dice.between(MINUTE, 2 * DAY), parcel, tail)
        if parcel.replaced_at is not None and parcel.replaced_by is not None:
            to = parcel.replaced_by
            place = parcel.replaced_in
            where = "" if place is None else f',"location":{{{_place(place, parcel.carrier.full_names)}}}'
            kind = f'"kind":"{parcel.replaced_as}","reason":"{_REPLACED[parcel.replaced_as]}"'
            new = f'"new_carrier":"{to.carrier.code}","new_waybill_no":"{to.number}"'
            tail = f"{_waybill(parcel)[1:]},{new},{kind}{where}"
            at = parcel.replaced_at
            self._send(at, at + dice.between(0, 20 * MINUTE), SCANS, parcel.number, "waybill_replaced", tail)

    def _send_scan(self, scan: Scan, received_at: int, parcel: Parcel, tail: str) -> None:
        self._send(scan.at, received_at, SCANS, parcel.number, "scan", tail)

    def _scan(self, parcel: Parcel, scan: Scan) -> str:
        dice, carrier = self._teller.dice, parcel.carrier
        words = carrier.phrases[scan.status].format(
            city=scan.city.short if scan.city.name[0] == "省" else scan.city.name,
            here=scan.facility,
            next=scan.heading,
            courier=dice.pick(FAMILY_NAMES) + "师傅",
            phone=f"1390000{dice.between(0, 10_000):04}",
        )
        place = _place(scan.city, carrier.full_names)
        # On the road some scans say only in words where they were made.
        if scan.status in _ON_THE_ROAD and dice.chance(0.1):
            place = _field("text", f"【{scan.city.short}】")
        return f',"status":"{scan.status}","location":{{{place},"facility":"{scan.facility}"}},{_field("description", words)}'

    def _send(self, at: int, received_at: int, topic: str, key: str, kind: str, tail: str) -> None:
        """Add one event; what would be received after the end is received sooner."""
        dice = self._teller.dice
        if received_at > self._end:
            received_at = at + int(dice.roll() * (self._end - at))
        received_at = max(at, received_at // 1000 * 1000)
        times = f'"occurred_at":"{_time(at)}","received_at":"{_time(received_at)}"'
        value = f'{{"type":"{kind}","event_id":"{self._number:012x}",{times},{tail}}}'
        self._put(received_at, topic, key, value)
        self.events += 1
        self.as_of = max(self.as_of, received_at)
        if dice.chance(self._invalid_share):
            self._put(received_at, topic, key, dice.pick(_SPOILERS)(value))
            self.invalid += 1

    def _put(self, received_at: int, topic: str, key: str, value: str) -> None:
        message = Message(received_at, self._number, topic, key, value)
        self._pending.setdefault(received_at // HOUR, []).append(message)
        self._number += 1


def days_of(orders: int) -> int:
    """Return for how many days so many orders are paid, by default."""
    return max(_DAYS_MIN, orders // _ORDERS_PER_DAY)


# ------------------------------------------------------------------------------------------------------------ out of the house


def write_file(out: Path, simulation: Simulation, progress: Progress | None = None) -> Summary:
    """Write the stream as NDJSON (compressed if `out` ends in .gz or .zst), then its labels to `<out>.labels.ndjson`.

    Both appear whole or not at all.

    Raises:
        OSError: The files cannot be written.
    """
    with _whole_file(out) as file, _packed(file, out.suffix) as packed:
        for messages in simulation.messages(progress):
            packed.write("".join(f"{message.value}\n" for message in messages).encode())
    return _finish(simulation, Path(f"{out}.labels.ndjson"))


def produce(
    send: Send,
    simulation: Simulation,
    *,
    rate: float | None = None,
    labels: Path | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Hand every message to `send`, at `rate` messages a second if given; then write the labels to the file `labels`.

    Raises:
        OSError: The labels cannot be written.
    """
    started = time.monotonic()
    sent = 0
    for messages in simulation.messages(progress):
        for received_at, _, topic, key, value in messages:
            if rate is not None:
                time.sleep(max(0.0, started + sent / rate - time.monotonic()))
            send(topic, key, value.encode(), received_at // 1000)
            sent += 1
    return _finish(simulation, labels)


def _finish(simulation: Simulation, out: Path | None) -> Summary:
    labels = simulation.labels()
    if out is not None:
        with _whole_file(out) as file:
            for label in labels:
                file.write(f"{json.dumps(_label(label))}\n".encode())
    as_of = _EPOCH + timedelta(microseconds=simulation.as_of)
    return Summary(simulation.events, simulation.invalid, len(labels), as_of)


def _label(label: Label) -> dict[str, str | None]:
    return {
        "rule": label.rule,
        "order_id": label.order_id,
        "carrier": label.carrier,
        "waybill_no": label.waybill_no,
        "aftersale_id": label.aftersale_id,
        "violated_at": _time(label.violated_at),
        "status": label.status,
    }


class _Writer(Protocol):
    def write(self, data: bytes, /) -> object: ...


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the name `path` only when all is written."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _packed(file: BinaryIO, suffix: str) -> AbstractContextManager[_Writer]:
    if suffix == ".gz":
        # Without a name and a time in it, the same stream gives the same file.
        return gzip.GzipFile("", "wb", compresslevel=4, fileobj=file, mtime=0)
    if suffix == ".zst":
        return zstandard.ZstdCompressor().stream_writer(file, closefd=False)
    return nullcontext(file)


# ---------------------------------------------------------------------------------------------------------------------- as text

_LOAD_UNTIL: Final = tuple(accumulate(HOURLY_LOAD))
_ON_THE_ROAD: Final = {"in_transit", "departed_facility", "arrived_at_facility"}
_SECONDS_PER_DAY: Final = 86_400


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


@cache
def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat() + "T"


@cache
def _clock() -> list[str]:
    """Every second of a day, as text."""
    return [f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(_SECONDS_PER_DAY)]


def _time(at: int) -> str:
    day, rest = divmod(at + _UTC_OFFSET, DAY)
    second, fraction = divmod(rest, SECOND)
    return f"{_day(day)}{_clock()[second]}{f'.{fraction:06}' if fraction else ''}+08:00"


def _field(name: str, text: str) -> str:
    """Write a member of a JSON object. No text of this world needs escaping."""
    return f'"{name}":"{text}"'


def _waybill(parcel: Parcel) -> str:
    return f',"carrier":"{parcel.carrier.code}","waybill_no":"{parcel.number}"'


def _place(city: City, full: bool) -> str:  # noqa: FBT001  a property of the carrier, passed on
    province, name = (city.province, city.name) if full else (city.short_province, city.short)
    if city.name[0] == "省":
        name = city.short
    return f'"province":"{province}","city":"{name}"'


def _address(address: Address, *, one_line: bool = False) -> str:
    city, district, detail = address
    if one_line:
        return f'{{"text":"{city.province}{city.name}{district}{detail}"}}'
    return f'{{"province":"{city.province}","city":"{city.name}","district":"{district}","detail":"{detail}"}}'


def _payment(order: Order) -> str:
    within = "" if order.within_hours is None else f',"ship_within_hours":{order.within_hours}'
    category = "" if order.category is None else "," + _field("category", order.category)
    products = ",".join(f'"{product}"' for product in order.products)
    return (
        f',"platform":"{order.merchant.platform}","merchant_id":"{order.merchant.merchant_id}",{_amount(order)}{within}'
        f'{category},"products":[{products}]'
        f',"recipient":{{"name":"{order.buyer.name}","phone":"{order.buyer.phone}"}}'
        f',"address":{_address(order.address, one_line=order.address_in_one_line)}'
    )


def _amount(order: Order) -> str:
    yuan, fen = divmod(order.cents, 100)
    return _field("amount", f"{yuan}.{fen:02}")


def _exemption(exemption: Exemption) -> str:
    times = {
        "extended_to": exemption.extended_to,
        "applies_from": exemption.applies_from,
        "applies_until": exemption.applies_until,
    }
    given = "".join("," + _field(name, _time(at)) for name, at in times.items() if at is not None)
    return f',"rules":{json.dumps(exemption.rules)}{given},{_field("reason", exemption.reason)}'


def _case_events(case: Case, order: Order) -> Iterator[tuple[int, str, str]]:
    """Give what happens in the case: when, the type of the event, and what it says beyond the case."""
    parcels = {"return_waybill_uploaded": case.sent_back, "resend_shipped": case.resent}
    times = {"return_received": case.received, "aftersale_closed": case.closed}
    yield case.opened, "aftersale_opened", "," + _field("kind", case.kind)
    if case.answered is not None:
        yield case.answered, "aftersale_answered", "," + _field("answer", case.answer)
    yield from ((upload[0], kind, _waybill(upload[1])) for kind, upload in parcels.items() if upload is not None)
    yield from ((at, kind, "") for kind, at in times.items() if at is not None)
    if case.refunded is not None:
        yield case.refunded, "refunded", "," + _amount(order)


_REPLACED: Final = {"transfer": "转单", "correction": "单号填错"}
_SPOILERS: Final[tuple[Callable[[str], str], ...]] = (
    lambda value: value[: len(value) // 2],
    lambda value: value.replace("+08:00", "", 1),
    lambda value: value.replace('"type":"', '"type":"new_', 1),
    lambda value: value.replace('"occurred_at"', '"happened_at"', 1),
    lambda value: value.replace("_id", "_number").replace("waybill_no", "number"),
    lambda value: value.replace('"occurred_at":"2', '"occurred_at":"9', 1),
    lambda _: "[]",
)
"""What goes wrong with messages. Each makes an invalid one out of any valid one."""
