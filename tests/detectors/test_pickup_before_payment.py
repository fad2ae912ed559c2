from tests.detectors.asking import US, ask, violated


def test_a_pickup_before_the_payment_is_a_violation_at_the_payment() -> None:
    assert violated("pickup_before_payment", paid_at=10, picked_up_at=10 - US) == 10


def test_a_pickup_at_the_moment_of_payment_is_none() -> None:
    assert violated("pickup_before_payment", paid_at=10, picked_up_at=10) is None


def test_a_cancellation_does_not_undo_it() -> None:
    assert violated("pickup_before_payment", paid_at=10, picked_up_at=5, cancelled_at=1) == 10


def test_it_waits_for_both_times() -> None:
    assert violated("pickup_before_payment", picked_up_at=5) is None
    assert violated("pickup_before_payment", paid_at=5) is None


def test_the_evidence_is_both_times() -> None:
    evidence = ask("pickup_before_payment", paid_at=10, picked_up_at=5).evidence
    assert set(evidence) == {"paid_at", "picked_up_at"}
    assert None not in evidence.values()
