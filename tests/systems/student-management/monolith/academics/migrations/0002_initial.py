import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("academics", "0001_initial"),
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="enrolment",
            name="student",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="enrolments", to="accounts.student"
            ),
        ),
        migrations.AddConstraint(
            model_name="sessionyear",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_on__gt", models.F("starts_on"))), name="session_year_runs_forward"
            ),
        ),
        migrations.AddField(
            model_name="enrolment",
            name="session_year",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="academics.sessionyear"),
        ),
        migrations.AddField(
            model_name="subject",
            name="course",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="subjects", to="academics.course"
            ),
        ),
        migrations.AddField(
            model_name="subject",
            name="staff",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="subjects", to="accounts.staff"
            ),
        ),
        migrations.AddField(
            model_name="enrolment",
            name="subject",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="enrolments", to="academics.subject"
            ),
        ),
        migrations.AddConstraint(
            model_name="enrolment",
            constraint=models.UniqueConstraint(fields=("student", "subject", "session_year"), name="enrolled_once"),
        ),
    ]
