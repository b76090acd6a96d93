"""Users of every role with their profiles, some notes, a few photos. All have the password `ficus-demo-1`."""

import hashlib
from dataclasses import dataclass

from django.contrib.auth.hashers import make_password

from accounts.models import AdminHOD, CustomUser, Photo, Staff, Student, UserNote
from accounts.roles import Role

from .words import FIRST_NAMES, GENDERS, LAST_NAMES, SENTENCES, address, moment, png

PASSWORD = "ficus-demo-1"
ADMINS_IN_100 = 2
STAFF_IN_100 = 18
USERS_A_NOTE = 5
USERS_A_PHOTO = 50


@dataclass
class People:
    users: list
    staff: list
    students: list
    notes: int
    photos: int

    def counts(self):
        return {"users": len(self.users), "notes": self.notes, "photos": self.photos}


def fill_people(dice, users, studies):
    admins = max(1, users * ADMINS_IN_100 // 100)
    staff = max(1, users * STAFF_IN_100 // 100)
    sizes = {Role.ADMIN: admins, Role.STAFF: staff, Role.STUDENT: max(1, users - admins - staff)}
    # One hash for all: hashing for each user would take longer than everything else together.
    password = make_password(PASSWORD, salt="".join(dice.choices("abcdefghjkmnpqrstuvwxyz23456789", k=22)))
    rows = [_user(dice, role, number + 1, password) for role, size in sizes.items() for number in range(size)]
    made = CustomUser.objects.bulk_create(rows)

    AdminHOD.objects.bulk_create(AdminHOD(user=user, **_stamps(user)) for user in _of(made, Role.ADMIN))
    teachers = Staff.objects.bulk_create(
        Staff(user=user, address=address(dice), **_stamps(user)) for user in _of(made, Role.STAFF)
    )
    students = Student.objects.bulk_create(
        Student(
            user=user,
            gender=dice.choice(GENDERS),
            address=address(dice),
            course_id=dice.choice(studies.courses).pk,
            session_year_id=dice.choice(studies.years).pk,
            **_stamps(user),
        )
        for user in _of(made, Role.STUDENT)
    )
    notes = UserNote.objects.bulk_create(
        UserNote(user=user, text=dice.choice(SENTENCES), created_at=moment(dice)) for user in made[::USERS_A_NOTE]
    )
    photos = Photo.objects.bulk_create(_photo(dice, user) for user in made[::USERS_A_PHOTO])
    return People(made, teachers, students, len(notes), len(photos))


def _user(dice, role, number, password):
    name = f"{role.label}{number}"
    is_admin = role is Role.ADMIN
    return CustomUser(
        username=name,
        password=password,
        email=f"{name}@example.test",
        first_name=dice.choice(FIRST_NAMES),
        last_name=dice.choice(LAST_NAMES),
        is_staff=is_admin,
        is_superuser=is_admin,
        date_joined=moment(dice),
        user_type=role,
    )


def _of(users, role):
    return [user for user in users if user.role is role]


def _stamps(user):
    return {"created_at": user.date_joined, "updated_at": user.date_joined}


def _photo(dice, user):
    data = png(dice)
    digest = hashlib.sha256(data).hexdigest()
    return Photo(user=user, content_type="image/png", sha256=digest, data=data, uploaded_at=moment(dice))
