from tests.detectors.asking import US, violated


def test_24_hours_run_from_the_first_pickup_to_the_next_movement() -> None:
    assert violated("stalled_after_pickup", picked_up_at=10, moved_at=34) is None
    assert violated("stalled_after_pickup", picked_up_at=10, moved_at=34 + US) == 34


def test_a_parcel_never_picked_up_has_not_stalled() -> None:
    assert violated("stalled_after_pickup", uploaded_at=0, as_of=500) is None
