"""What happens round the lessons: leave, feedback, notifications, fines and their payments."""

from datetime import timedelta
from decimal import Decimal

from feedback.models import FeedbackStaff, FeedbackStudent
from finance.models import Fine, FinePayment
from leave.models import Decision, LeaveReportStaff, LeaveReportStudent
from notifications.models import NotificationStaff, NotificationStudent

from .words import SENTENCES, TODAY, moment


def fill_activity(dice, people):
    """Returns the counts of what was made."""
    counts = {"leave": 0, "feedback": 0, "notifications": 0}
    for owners, leave, feedback, notification in (
        (people.students, LeaveReportStudent, FeedbackStudent, NotificationStudent),
        (people.staff, LeaveReportStaff, FeedbackStaff, NotificationStaff),
    ):
        counts["leave"] += len(leave.objects.bulk_create(_leave(dice, leave, owner) for owner in owners[::10]))
        counts["feedback"] += len(
            feedback.objects.bulk_create(
                feedback(owner=owner, text=dice.choice(SENTENCES), **_stamps(dice)) for owner in owners[::10]
            )
        )
        counts["notifications"] += len(
            notification.objects.bulk_create(
                notification(owner=owner, message=dice.choice(SENTENCES), **_stamps(dice)) for owner in owners[::5]
            )
        )
    fines = Fine.objects.bulk_create(_fine(dice, student) for student in people.students[::10])
    payments = FinePayment.objects.bulk_create(
        FinePayment(fine=fine, amount=fine.amount / 2, paid_at=moment(dice)) for fine in fines[::2]
    )
    return {**counts, "fines": len(fines), "payments": len(payments)}


def _leave(dice, model, owner):
    return model(
        owner=owner,
        leave_date=TODAY + timedelta(days=dice.randint(1, 60)),
        message=dice.choice(SENTENCES),
        status=dice.choice(Decision.values),
        **_stamps(dice),
    )


def _fine(dice, student):
    return Fine(
        student=student,
        amount=Decimal(dice.randrange(2, 60)),
        reason="A library book came back late.",
        due_on=TODAY + timedelta(days=30),
        **_stamps(dice),
    )


def _stamps(dice):
    then = moment(dice)
    return {"created_at": then, "updated_at": then}
