from tests.detectors.asking import US, ask, violated


def test_48_hours_run_from_the_request_to_the_answer() -> None:
    assert violated("resend_answer_overdue", resend_asked_at=10, answered_at=58) is None
    assert violated("resend_answer_overdue", resend_asked_at=10, answered_at=58 + US) == 58


def test_requests_for_a_refund_are_not_its_business() -> None:
    assert ask("resend_answer_overdue", opened_at=0, refund_asked_at=0, as_of=500)[:2] == (None, None)
