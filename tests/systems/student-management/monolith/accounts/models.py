"""Users, the profile that each role has, and what hangs on a user: notes and a photo.

Deleting a user takes all of it along. Courses and years belong to `academics`; a student only points to them.
"""

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.utils import timezone

from school.models import Stamped

from .roles import Role


class SchoolUserManager(UserManager):
    def create_superuser(self, username, email=None, password=None, **extra):
        extra.setdefault("user_type", Role.ADMIN)
        return super().create_superuser(username, email, password, **extra)


class CustomUser(AbstractUser):
    user_type = models.SmallIntegerField("role", choices=Role.choices, default=Role.STUDENT)

    objects = SchoolUserManager()

    @property
    def role(self):
        return Role(self.user_type)

    @property
    def profile(self):
        """The profile that belongs to the user's role, or None."""
        name = {Role.ADMIN: "admin_profile", Role.STAFF: "staff_profile", Role.STUDENT: "student_profile"}[self.role]
        return getattr(self, name, None)


class AdminHOD(Stamped):
    """Profile of an admin, the head of a department."""

    user = models.OneToOneField(CustomUser, models.CASCADE, related_name="admin_profile")

    class Meta:
        verbose_name = "admin profile"

    def __str__(self):
        return str(self.user)


class Staff(Stamped):
    user = models.OneToOneField(CustomUser, models.CASCADE, related_name="staff_profile")
    address = models.TextField(blank=True, default="")

    class Meta:
        verbose_name = "staff profile"

    def __str__(self):
        return str(self.user)


class Student(Stamped):
    user = models.OneToOneField(CustomUser, models.CASCADE, related_name="student_profile")
    gender = models.CharField(max_length=20, blank=True, default="")
    address = models.TextField(blank=True, default="")
    course = models.ForeignKey("academics.Course", models.PROTECT, null=True, blank=True)
    session_year = models.ForeignKey("academics.SessionYear", models.PROTECT, null=True, blank=True)

    class Meta:
        verbose_name = "student profile"

    def __str__(self):
        return str(self.user)


class UserNote(models.Model):
    user = models.ForeignKey(CustomUser, models.CASCADE, related_name="notes")
    text = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self):
        return self.text[:60]


class Photo(models.Model):
    user = models.OneToOneField(CustomUser, models.CASCADE, primary_key=True, related_name="photo")
    content_type = models.CharField(max_length=100)
    sha256 = models.CharField(max_length=64)
    data = models.BinaryField()
    uploaded_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self):
        return f"photo of {self.user}"
