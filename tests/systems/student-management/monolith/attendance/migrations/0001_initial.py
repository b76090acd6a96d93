import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("academics", "0001_initial"),
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Attendance",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("date", models.DateField()),
                (
                    "session_year",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="academics.sessionyear"),
                ),
                ("subject", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="academics.subject")),
            ],
            options={
                "verbose_name_plural": "attendance",
            },
        ),
        migrations.CreateModel(
            name="AttendanceReport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("present", models.BooleanField(default=False)),
                (
                    "attendance",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="reports", to="attendance.attendance"
                    ),
                ),
                (
                    "student",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attendance_reports",
                        to="accounts.student",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="attendance",
            constraint=models.UniqueConstraint(
                fields=("subject", "session_year", "date"), name="attendance_taken_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="attendancereport",
            constraint=models.UniqueConstraint(fields=("attendance", "student"), name="student_reported_once"),
        ),
    ]
