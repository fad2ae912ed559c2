"""See `AftersaleAnswerOverdue`."""

from detectors._contract import DeadlineRule, View


class AftersaleAnswerOverdue(DeadlineRule):
    """The buyer's request for a refund was not answered within 48 h: the platform agrees by default.

    Source: Douyin after-sales, returns paid online 1, cash on delivery 1; requests to send again are `resend_answer_overdue`.

    Known blind spots:
        A merchant who refunds without answering has settled the case, and is not flagged.
    """

    view = View.AFTERSALE
    title = "request for a refund not answered in time"
    limit_hours = 48
    by_default = False
    start = "refund_asked_at"
    met = "answered_at"
    lifted_by = "settled_at"
