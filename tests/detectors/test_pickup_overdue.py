from tests.detectors.asking import US, violated


def test_72_hours_run_from_the_payment_to_the_first_pickup() -> None:
    assert violated("pickup_overdue", paid_at=10, picked_up_at=82) is None
    assert violated("pickup_overdue", paid_at=10, picked_up_at=82 + US) == 82


def test_without_a_payment_it_waits() -> None:
    assert violated("pickup_overdue", uploaded_at=0, as_of=500) is None
