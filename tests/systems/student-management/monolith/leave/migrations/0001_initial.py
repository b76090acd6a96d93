import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="LeaveReportStaff",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("leave_date", models.DateField()),
                ("message", models.TextField()),
                (
                    "status",
                    models.SmallIntegerField(choices=[(0, "pending"), (1, "approved"), (2, "rejected")], default=0),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        db_column="staff_id",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="leave_reports",
                        to="accounts.staff",
                    ),
                ),
            ],
            options={
                "verbose_name": "leave of a staff member",
                "verbose_name_plural": "leave of staff",
            },
        ),
        migrations.CreateModel(
            name="LeaveReportStudent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("leave_date", models.DateField()),
                ("message", models.TextField()),
                (
                    "status",
                    models.SmallIntegerField(choices=[(0, "pending"), (1, "approved"), (2, "rejected")], default=0),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        db_column="student_id",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="leave_reports",
                        to="accounts.student",
                    ),
                ),
            ],
            options={
                "verbose_name": "leave of a student",
                "verbose_name_plural": "leave of students",
            },
        ),
    ]
