"""Pathway: tables that follow the stream, in its Rust engine. The steps are declared in Python; no event passes through it."""

import pathway as pw

from benchmarks.peers.asked import ASKED

DAY = 24 * 3_600_000_000
NEVER = 2**62
DROPS = ("out_for_delivery", "available_for_pickup", "delivered")

TEXTS = ("occurred_at", "type", "order_id", "carrier", "waybill_no", "status")
PATHS = {"name": "/recipient/name", "phone": "/recipient/phone", "scanned_in": "/location/city"}
PATHS |= {field: f"/address/{field}" for field in ("province", "city", "district", "detail")}
COLUMNS = {name: pw.column_definition(dtype=str, default_value="") for name in (*TEXTS, *PATHS)}
how = {"schema": pw.schema_builder(COLUMNS), "mode": "static", "json_field_paths": PATHS, "format": "json"}
if ASKED.file:
    read = pw.io.fs.read(ASKED.file, **how)
else:
    settings = {"bootstrap.servers": ASKED.bootstrap, "group.id": str(ASKED.out), "auto.offset.reset": "earliest"}
    # One by one: of a list of topics it reads, in static mode, only the first.
    topics = (pw.io.kafka.read(settings, topic, **how) for topic in (ASKED.orders, ASKED.scans))
    read = pw.Table.concat_reindex(*topics)
events = read.with_columns(
    at=pw.cast(int, pw.this.occurred_at.dt.strptime("%Y-%m-%dT%H:%M:%S%.f%z").dt.timestamp(unit="us").num.round())
)


def one_of(column: pw.ColumnExpression, *values: str) -> pw.ColumnExpression:
    """Return whether the column is one of these."""
    found = column == values[0]
    for value in values[1:]:
        found |= column == value
    return found


receiver = pw.make_tuple(*(pw.this[name] for name in ("name", "phone", "province", "city", "district", "detail")))
payments = events.filter(pw.this.type == "order_paid").select(
    pw.this.order_id, paid=pw.make_tuple(pw.this.at, pw.this.city, receiver)
)
paid = payments.groupby(pw.this.order_id).reduce(pw.this.order_id, paid=pw.reducers.min(pw.this.paid))
uploads = (
    events.filter(pw.this.type == "waybill_uploaded")
    .groupby(pw.this.order_id, pw.this.carrier, pw.this.waybill_no)
    .reduce(pw.this.order_id, pw.this.carrier, pw.this.waybill_no, up=pw.reducers.min(pw.this.at))
)
shipments = uploads.join(paid, pw.left.order_id == pw.right.order_id).select(
    *pw.left, paid_at=pw.right.paid[0], city=pw.right.paid[1], receiver=pw.right.paid[2]
)

scans = events.filter(pw.this.type == "scan")
status = pw.this.status
rank = pw.if_else(status == DROPS[0], 1, pw.if_else(status == DROPS[1], 2, pw.if_else(status == DROPS[2], 3, 0)))
drop = pw.make_tuple(pw.if_else(rank > 0, pw.this.at, 0), rank, pw.this.scanned_in)
waybills = (
    scans.select(
        pw.this.carrier,
        pw.this.waybill_no,
        drop=drop,
        picked_up=pw.if_else(status == "picked_up", pw.this.at, NEVER),
        back=pw.if_else(one_of(status, "returning", "returned", "forwarded"), 1, 0),
    )
    .groupby(pw.this.carrier, pw.this.waybill_no)
    .reduce(
        picked_up=pw.reducers.min(pw.this.picked_up),
        drop=pw.reducers.max(pw.this.drop),
        back=pw.reducers.max(pw.this.back),
    )
)
later = scans.with_columns(picked_up=waybills.ix_ref(pw.this.carrier, pw.this.waybill_no).picked_up)
later = later.filter((pw.this.at > pw.this.picked_up) & ~one_of(status, "picked_up", "info_received", "cancelled"))
moves = later.groupby(pw.this.carrier, pw.this.waybill_no).reduce(at=pw.reducers.min(pw.this.at))

waybill = waybills.ix_ref(pw.this.carrier, pw.this.waybill_no, allow_misses=True)
judged = shipments.with_columns(
    picked_up=pw.coalesce(waybill.picked_up, NEVER),
    moved=pw.coalesce(moves.ix_ref(pw.this.carrier, pw.this.waybill_no, allow_misses=True).at, NEVER),
    drop=pw.coalesce(waybill.drop, pw.make_tuple(0, 0, "")),
    back=pw.coalesce(waybill.back, 0),
)
same_number = (pw.left.carrier == pw.right.carrier, pw.left.waybill_no == pw.right.waybill_no)
reused = (
    shipments.join(shipments.copy(), *same_number)
    .select(*pw.left, other_up=pw.right.up, other_id=pw.right.order_id, other=pw.right.receiver)
    .filter(pw.make_tuple(pw.this.other_up, pw.this.other_id) < pw.make_tuple(pw.this.up, pw.this.order_id))
    .filter((pw.this.up - pw.this.other_up <= 30 * DAY) & (pw.this.other != pw.this.receiver))
    .groupby(pw.this.order_id, pw.this.carrier, pw.this.waybill_no)
    .reduce(pw.this.order_id, pw.this.carrier, pw.this.waybill_no, up=pw.reducers.min(pw.this.up))
)


def missed(deadline: pw.ColumnExpression, happened: pw.ColumnExpression) -> pw.ColumnExpression:
    """Return whether it happened after its deadline, or never, although that has passed."""
    return pw.if_else(happened == NEVER, ASKED.as_of, happened) > deadline


def flags(table: pw.Table, rule: str, at: pw.ColumnExpression) -> pw.Table:
    """Return every row of the table as a flag."""
    return table.select(pw.this.order_id, pw.this.carrier, pw.this.waybill_no, rule=rule, violated_at=at)


elsewhere = (pw.this.drop[0] > 0) & (pw.this.back == 0) & (pw.this.drop[2] != "") & (pw.this.drop[2] != pw.this.city)
not_in_time = missed(pw.this.up + DAY, pw.this.picked_up)
stalled = (pw.this.picked_up < NEVER) & missed(pw.this.picked_up + DAY, pw.this.moved)
found = pw.Table.concat_reindex(
    flags(judged.filter(pw.this.picked_up < pw.this.paid_at), "pickup_before_payment", pw.this.paid_at),
    flags(judged.filter(not_in_time), "no_pickup_scan", pw.this.up + DAY),
    flags(judged.filter(stalled), "stalled_after_pickup", pw.this.picked_up + DAY),
    flags(judged.filter(elsewhere), "address_mismatch", pw.this.drop[0]),
    flags(reused, "waybill_reused", pw.this.up),
)
pw.io.jsonlines.write(found, ASKED.out)
pw.run(monitoring_level=pw.MonitoringLevel.NONE)
