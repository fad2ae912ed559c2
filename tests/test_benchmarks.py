import sys

import pytest

from benchmarks import throughput


def test_the_benchmark_runs_and_its_replay_flags_what_it_must(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["throughput", "--orders", "150", "--no-kafka"])
    throughput.main()
    table = capfd.readouterr().out
    assert "parcelwatch replay" in table
    assert "labels 0 are missing, 0 flags are too many" in table
