"""The attendance of the whole school as one CSV, sent row by row as the database gives it."""

import csv

from django.http import StreamingHttpResponse

from accounts.roles import Role
from school.api import ApiView

from .models import AttendanceReport

COLUMNS = {
    "date": "attendance__date",
    "subject": "attendance__subject__name",
    "session_year_id": "attendance__session_year_id",
    "username": "student__user__username",
    "present": "present",
}


class AttendanceCsv(ApiView):
    roles = {"GET": {Role.ADMIN, Role.STAFF}}

    def get(self, request):
        return StreamingHttpResponse(
            _lines(),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="attendance.csv"'},
        )


class _Line:
    """The file that the CSV writer wants: gives back what is written."""

    def write(self, text):
        return text


def _lines():
    writer = csv.writer(_Line())
    yield writer.writerow(COLUMNS)
    reports = AttendanceReport.objects.order_by("pk").values_list(*COLUMNS.values())
    for report in reports.iterator(chunk_size=500):
        yield writer.writerow(report)
