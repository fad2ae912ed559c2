from tests.detectors.asking import US, violated


def test_24_hours_run_from_the_first_pickup_to_the_first_sorting_centre() -> None:
    assert violated("first_hub_overdue", picked_up_at=10, first_hub_at=34) is None
    assert violated("first_hub_overdue", picked_up_at=10, first_hub_at=34 + US) == 34


def test_movement_without_a_sorting_centre_is_not_enough() -> None:
    assert violated("first_hub_overdue", picked_up_at=10, moved_at=11, as_of=35) == 34
