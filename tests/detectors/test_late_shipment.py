from tests.detectors.asking import US, violated


def test_48_hours_run_from_the_payment_to_the_first_upload() -> None:
    assert violated("late_shipment", paid_at=10, first_uploaded_at=58) is None
    assert violated("late_shipment", paid_at=10, first_uploaded_at=58 + US) == 58


def test_the_order_may_promise_another_time() -> None:
    assert violated("late_shipment", paid_at=0, ship_within_hours=24, first_uploaded_at=24) is None
    assert violated("late_shipment", paid_at=0, ship_within_hours=24, first_uploaded_at=24 + US) == 24
    assert violated("late_shipment", paid_at=0, ship_within_hours=360, first_uploaded_at=360) is None


def test_without_a_payment_it_waits() -> None:
    assert violated("late_shipment", first_uploaded_at=0, as_of=500) is None
