"""See `ResendAnswerOverdue`."""

from detectors._contract import DeadlineRule, View


class ResendAnswerOverdue(DeadlineRule):
    """The buyer's request to send again (补寄) was not answered within 48 h: the platform agrees by default.

    Source: Douyin resend 3.3.1.

    Known blind spots:
        A merchant who ships without answering has settled the case, and is not flagged.
    """

    view = View.AFTERSALE
    title = "request to send again not answered in time"
    limit_hours = 48
    by_default = False
    start = "resend_asked_at"
    met = "answered_at"
    lifted_by = "settled_at"
