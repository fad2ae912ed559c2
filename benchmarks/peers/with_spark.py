"""Spark Structured Streaming: one aggregation by key, kept in the state store, and the rules as SQL over its complete table.

All in the JVM: no event passes through Python. Whatever there is to read when it starts is read, in one micro-batch.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from benchmarks.peers.asked import ASKED

SCHEMA = """type STRING, occurred_at TIMESTAMP, order_id STRING, carrier STRING, waybill_no STRING, status STRING,
    location STRUCT<city: STRING>, recipient STRUCT<name: STRING, phone: STRING>,
    address STRUCT<province: STRING, city: STRING, district: STRING, detail: STRING>"""
RANK = "array_position(array('out_for_delivery', 'available_for_pickup', 'delivered'), status)"
KEEP = {
    "paid": "min(struct(occurred_at AS at, recipient, address)) FILTER (WHERE type = 'order_paid')",
    "uploads": "collect_set(struct(carrier, waybill_no, occurred_at)) FILTER (WHERE type = 'waybill_uploaded')",
    "picked_up_at": "min(occurred_at) FILTER (WHERE status = 'picked_up')",
    "moved_at": "collect_set(occurred_at) FILTER (WHERE status NOT IN ('picked_up', 'info_received', 'cancelled'))",
    "drop": f"max(struct(occurred_at AS at, {RANK} AS rank, location.city)) FILTER (WHERE {RANK} > 0)",
    "turned_back": "coalesce(bool_or(status IN ('returning', 'returned', 'forwarded')), false)",
}
# Of the Kafka connector, which the Python package lacks.
JARS = [] if ASKED.file else sorted(Path(os.environ["PEER_JARS"]).glob("*.jar"))
RULES = f"""
WITH uploads AS (
    SELECT order_id, paid, up.carrier, up.waybill_no, min(up.occurred_at) AS up
    FROM (SELECT order_id, paid, explode(uploads) AS up FROM kept WHERE paid IS NOT NULL)
    GROUP BY ALL
), waybills AS (
    SELECT carrier, waybill_no, picked_up_at, drop, turned_back,
        array_min(filter(moved_at, at -> at > picked_up_at)) AS moved_at
    FROM kept WHERE order_id IS NULL
), reused AS (
    SELECT this.order_id, this.carrier, this.waybill_no, this.up
    FROM uploads AS this
    LEFT SEMI JOIN uploads AS other ON this.carrier = other.carrier AND this.waybill_no = other.waybill_no
        AND struct(other.up, other.order_id) < struct(this.up, this.order_id) AND this.up - other.up <= INTERVAL 720 HOURS
        AND (this.paid.recipient <> other.paid.recipient OR this.paid.address <> other.paid.address)
), judged AS (
    SELECT order_id, carrier, waybill_no, explode(map(
        'pickup_before_payment', CASE WHEN picked_up_at < paid.at THEN paid.at END,
        'no_pickup_scan', CASE WHEN coalesce(picked_up_at, as_of) > up + INTERVAL 24 HOURS THEN up + INTERVAL 24 HOURS END,
        'stalled_after_pickup', CASE WHEN coalesce(moved_at, as_of) > picked_up_at + INTERVAL 24 HOURS
            THEN picked_up_at + INTERVAL 24 HOURS END,
        'address_mismatch', CASE WHEN NOT turned_back AND drop.city <> paid.address.city THEN drop.at END
    )) AS (rule, at)
    FROM uploads LEFT JOIN waybills USING (carrier, waybill_no) CROSS JOIN (SELECT timestamp_micros({ASKED.as_of}) AS as_of)
)
SELECT rule, order_id, carrier, waybill_no, unix_micros(at) AS violated_at FROM judged WHERE at IS NOT NULL
UNION ALL
SELECT 'waybill_reused', order_id, carrier, waybill_no, unix_micros(up) FROM reused
"""


def read(spark: SparkSession, scratch: str) -> DataFrame:
    """Stream the events, parsed."""
    if ASKED.file:
        Path(scratch, "in").mkdir()
        Path(scratch, "in", "stream.ndjson").symlink_to(ASKED.file.resolve())
        lines = spark.readStream.text(f"{scratch}/in")
    else:
        options = {"kafka.bootstrap.servers": ASKED.bootstrap, "subscribe": f"{ASKED.orders},{ASKED.scans}"}
        lines = spark.readStream.format("kafka").options(**options, startingOffsets="earliest").load()
    return lines.select(f.from_json(f.col("value").cast("string"), SCHEMA).alias("event")).select("event.*")


def judge(kept: DataFrame, _batch: int) -> None:
    """Write the flags that the complete table gives."""
    # Unkept, the table would be made again, from the source on, wherever the query names it.
    kept.persist().createOrReplaceTempView("kept")
    kept.sparkSession.sql(RULES).write.mode("overwrite").json(str(ASKED.out))
    kept.unpersist()


with TemporaryDirectory() as scratch:
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.ui.enabled", "false")
        # In a run of seconds, compiling less is worth more: half the CPU time of the defaults.
        .config("spark.driver.extraJavaOptions", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.jars", ",".join(map(str, JARS)))
        .getOrCreate()
    )
    # Payments and uploads by order, scans by waybill. Minima, maxima and sets: duplicates and late events change nothing.
    by_order = f.expr("CASE WHEN status IS NULL THEN order_id END").alias("order_id")
    by_number = (
        f.expr(f"CASE WHEN status IS NOT NULL THEN {name} END").alias(name) for name in ("carrier", "waybill_no")
    )
    kept = (
        read(spark, scratch)
        .groupBy(by_order, *by_number)
        .agg(*(f.expr(f"{kept} AS {name}") for name, kept in KEEP.items()))
    )
    query = kept.writeStream.outputMode("complete").foreachBatch(judge).trigger(availableNow=True)
    query.option("checkpointLocation", f"{scratch}/state").start().awaitTermination()
    spark.stop()
