from tests.detectors.asking import US, violated


def test_48_hours_run_from_the_receipt_to_the_refund() -> None:
    received = {"received_at": 20, "return_receipt_overdue_deadline": 168}
    assert violated("refund_overdue", **received, refunded_at=68) is None
    assert violated("refund_overdue", **received, refunded_at=68 + US) == 68


def test_a_receipt_that_nobody_confirms_is_confirmed_at_its_deadline() -> None:
    assert violated("refund_overdue", return_receipt_overdue_deadline=168, as_of=216) is None
    assert violated("refund_overdue", return_receipt_overdue_deadline=168, as_of=216 + US) == 216
    assert violated("refund_overdue", return_receipt_overdue_deadline=168, received_at=200, as_of=500) == 216


def test_a_receipt_without_a_return_waybill_is_no_start() -> None:
    assert violated("refund_overdue", received_at=20, as_of=500) is None
