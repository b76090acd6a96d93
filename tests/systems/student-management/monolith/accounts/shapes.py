"""The public JSON of users, notes and photos."""

from school.api import timestamp

from .roles import Role


def user_json(user):
    return {
        "id": user.pk,
        "username": user.username,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "role": user.role.label,
        "is_active": user.is_active,
        "date_joined": timestamp(user.date_joined),
        "profile": _profile_json(user),
    }


def note_json(note):
    return {"id": note.pk, "text": note.text, "created_at": timestamp(note.created_at)}


def photo_json(photo):
    return {"content_type": photo.content_type, "size": len(photo.data), "sha256": photo.sha256}


def _profile_json(user):
    profile = user.profile
    if profile is None:
        return None
    student = user.role is Role.STUDENT
    return {
        "address": "" if user.role is Role.ADMIN else profile.address,
        "gender": profile.gender if student else None,
        "course_id": profile.course_id if student else None,
        "session_year_id": profile.session_year_id if student else None,
    }
