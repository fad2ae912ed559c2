from tests.detectors.asking import US, ask, violated


def test_48_hours_run_from_the_request_to_the_answer() -> None:
    assert violated("aftersale_answer_overdue", refund_asked_at=10, answered_at=58) is None
    assert violated("aftersale_answer_overdue", refund_asked_at=10, answered_at=58 + US) == 58


def test_a_refund_settles_it_as_well_as_an_answer() -> None:
    assert violated("aftersale_answer_overdue", refund_asked_at=10, settled_at=58, as_of=500) is None
    assert violated("aftersale_answer_overdue", refund_asked_at=10, settled_at=58 + US, as_of=500) == 58


def test_requests_to_send_again_are_not_its_business() -> None:
    assert ask("aftersale_answer_overdue", opened_at=0, resend_asked_at=0, as_of=500)[:2] == (None, None)
