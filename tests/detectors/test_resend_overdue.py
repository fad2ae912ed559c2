from tests.detectors.asking import US, ask, violated


def test_48_hours_run_from_the_agreement_to_the_shipment() -> None:
    agreed = {"agreed_at": 20, "resend_answer_overdue_deadline": 48}
    assert violated("resend_overdue", **agreed, resent_at=68) is None
    assert violated("resend_overdue", **agreed, resent_at=68 + US) == 68


def test_silence_is_consent() -> None:
    assert violated("resend_overdue", resend_answer_overdue_deadline=48, as_of=96) is None
    assert violated("resend_overdue", resend_answer_overdue_deadline=48, as_of=96 + US) == 96


def test_after_a_rejection_in_time_nothing_is_to_be_shipped() -> None:
    assert ask("resend_overdue", resend_answer_overdue_deadline=48, rejected_at=48, as_of=500)[:2] == (None, None)
    assert violated("resend_overdue", resend_answer_overdue_deadline=48, rejected_at=48 + US, as_of=500) == 96
