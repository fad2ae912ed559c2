from tests.detectors.asking import US, ask, violated

OTHER = {"other_order_id": "o1", "other_differs_in": "name, address"}


def test_another_upload_exactly_30_days_before_counts_and_an_older_one_does_not() -> None:
    assert violated("waybill_reused", uploaded_at=1000, other_uploaded_at=280, **OTHER) == 1000
    assert violated("waybill_reused", uploaded_at=1000, other_uploaded_at=280 - US, **OTHER) is None


def test_another_upload_at_the_same_moment_counts() -> None:
    assert violated("waybill_reused", uploaded_at=5, other_uploaded_at=5, **OTHER) == 5


def test_the_evidence_names_the_other_order_and_what_differs() -> None:
    evidence = ask("waybill_reused", uploaded_at=5, other_uploaded_at=4, **OTHER).evidence
    assert evidence["other_order_id"] == "o1"
    assert evidence["differs_in"] == "name, address"
    assert evidence["limit_hours"] == 720
