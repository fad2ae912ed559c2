from tests.detectors.asking import US, violated


def test_24_hours_run_from_the_upload_to_the_first_pickup() -> None:
    assert violated("no_pickup_scan", uploaded_at=10, picked_up_at=34) is None
    assert violated("no_pickup_scan", uploaded_at=10, picked_up_at=34 + US) == 34


def test_a_pickup_before_the_upload_is_in_time() -> None:
    assert violated("no_pickup_scan", uploaded_at=10, picked_up_at=2, as_of=500) is None


def test_it_needs_no_payment() -> None:
    assert violated("no_pickup_scan", uploaded_at=10, as_of=34 + US) == 34
