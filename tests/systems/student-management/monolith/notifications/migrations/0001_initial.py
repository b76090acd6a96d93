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
            name="NotificationStaff",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("message", models.TextField()),
                (
                    "owner",
                    models.ForeignKey(
                        db_column="staff_id",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to="accounts.staff",
                    ),
                ),
            ],
            options={
                "verbose_name": "notification of a staff member",
                "verbose_name_plural": "notifications of staff",
            },
        ),
        migrations.CreateModel(
            name="NotificationStudent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("message", models.TextField()),
                (
                    "owner",
                    models.ForeignKey(
                        db_column="student_id",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to="accounts.student",
                    ),
                ),
            ],
            options={
                "verbose_name": "notification of a student",
                "verbose_name_plural": "notifications of students",
            },
        ),
    ]
