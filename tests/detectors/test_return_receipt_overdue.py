from tests.detectors.asking import US, violated


def test_7_days_run_from_the_return_waybill_to_the_receipt() -> None:
    assert violated("return_receipt_overdue", return_uploaded_at=10, received_at=178) is None
    assert violated("return_receipt_overdue", return_uploaded_at=10, received_at=178 + US) == 178


def test_without_a_return_waybill_it_waits() -> None:
    assert violated("return_receipt_overdue", opened_at=0, agreed_at=1, as_of=1000) is None
