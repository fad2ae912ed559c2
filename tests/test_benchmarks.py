import re
import sys

import pytest

from benchmarks import latency, places, retention, scale, throughput
from tests.broker import BOOTSTRAP_VARIABLE, Broker


def test_the_benchmark_runs_and_its_replay_flags_what_it_must(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["throughput", "--orders", "150", "--no-kafka"])
    throughput.main()
    table = capfd.readouterr().out
    assert "parcelwatch replay" in table
    assert table.count("labels 0 are missing, 0 flags are too many") == 2, "from NDJSON and from Parquet"


@pytest.mark.kafka
def test_the_benchmark_of_kafka_runs(
    kafka: Broker, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(BOOTSTRAP_VARIABLE, kafka.bootstrap)
    # As many orders as it takes for an exemption of many.
    monkeypatch.setattr(sys, "argv", ["throughput", "--orders", "500", "--no-files"])
    throughput.main()
    table = capfd.readouterr().out
    assert "the same in columns, bare" in table
    assert "parcelwatch run" in table


def test_the_benchmark_of_scale_restarts_with_all_its_shipments(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["scale", "--shipments", "2000"])
    scale.main()
    assert "never picked up: 2 flagged of 2" in capfd.readouterr().out


def test_the_benchmark_of_places_runs(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["places", "--orders", "50"])
    with pytest.raises(SystemExit) as done:
        places.main()
    assert done.value.code == 0
    assert "orders in one line" in capfd.readouterr().out


@pytest.mark.kafka
def test_the_benchmark_of_latency_sees_all_its_flags(
    kafka: Broker, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(BOOTSTRAP_VARIABLE, kafka.bootstrap)
    monkeypatch.setattr(sys, "argv", ["latency", "--rate", "300", "--seconds", "3", "--warm-up", "1"])
    with pytest.raises(SystemExit) as done:
        latency.main()
    assert not done.value.code
    figures = capfd.readouterr().out
    assert "produced -> visible" in figures
    assert "60 flags expected: 0 are missing, 0 too many" in figures


def test_the_benchmark_of_retention_runs_and_purges(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["retention", "--orders", "100", "--days", "45", "--rows", "5000"])
    retention.main()
    table = capfd.readouterr().out
    assert int(re.search(r"32 days kept.* ([\d,]+) rows purged", table)[1].replace(",", "")) > 0
    assert int(re.search(r"of 5,000 scans with their uploads ([\d,]+) rows purged", table)[1].replace(",", "")) > 1000
