from tests.detectors.asking import US, ask, violated

RULE = "return_shipment_overdue"


def test_7_days_run_from_the_agreement_to_the_return_waybill() -> None:
    agreed = {"agreed_at": 20, "aftersale_answer_overdue_deadline": 48}
    assert violated(RULE, **agreed, return_uploaded_at=188) is None
    assert violated(RULE, **agreed, return_uploaded_at=188 + US) == 188


def test_without_an_answer_they_run_from_the_deadline_for_it() -> None:
    assert violated(RULE, aftersale_answer_overdue_deadline=48, as_of=216) is None
    assert violated(RULE, aftersale_answer_overdue_deadline=48, as_of=216 + US) == 216


def test_an_agreement_that_comes_too_late_changes_nothing_and_neither_does_a_rejection() -> None:
    assert violated(RULE, aftersale_answer_overdue_deadline=48, agreed_at=60, as_of=500) == 216
    assert violated(RULE, aftersale_answer_overdue_deadline=48, rejected_at=48 + US, as_of=500) == 216


def test_after_a_rejection_in_time_nothing_is_to_be_sent() -> None:
    assert ask(RULE, aftersale_answer_overdue_deadline=48, rejected_at=48, as_of=500)[:2] == (None, None)


def test_a_refund_without_a_return_needs_no_waybill() -> None:
    agreed = {"agreed_at": 20, "aftersale_answer_overdue_deadline": 48, "wants_return": False}
    assert ask(RULE, **agreed, as_of=500)[:2] == (None, None)
