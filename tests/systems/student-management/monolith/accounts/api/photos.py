"""The photo of a user, kept in the database. A new one takes the place of the old."""

import hashlib

from django.http import HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.cache import get_conditional_response

from accounts.models import Photo
from accounts.shapes import photo_json
from school.api import ApiError, ApiView

from .access import find_user, require_admin_or_self

MAX_BYTES = 8 * 1024 * 1024
CONTENT_TYPES = {"image/png", "image/jpeg", "image/gif", "image/webp"}


class UserPhoto(ApiView):
    def get(self, request, pk):
        photo = Photo.objects.filter(user_id=pk).first()
        if photo is None:
            raise ApiError(404, "There is no such photo.")
        etag = f'"{photo.sha256}"'
        response = HttpResponse(photo.data, content_type=photo.content_type, headers={"ETag": etag})
        return get_conditional_response(request, etag=etag, response=response)

    def post(self, request, pk):
        require_admin_or_self(request, pk)
        user = find_user(pk)
        upload = request.FILES.get("photo")
        _check(upload)
        data = upload.read()
        photo, _ = Photo.objects.update_or_create(
            user=user,
            defaults={
                "content_type": upload.content_type,
                "sha256": hashlib.sha256(data).hexdigest(),
                "data": data,
                "uploaded_at": timezone.now(),
            },
        )
        return JsonResponse(photo_json(photo), status=201)


def _check(upload):
    if upload is None:
        why = "A file in the multipart field `photo` is required."
    elif upload.size > MAX_BYTES:
        why = "At most 8 MiB."
    elif upload.content_type not in CONTENT_TYPES:
        why = "The content type is none of " + ", ".join(sorted(CONTENT_TYPES)) + "."
    else:
        return
    raise ApiError(400, "The photo is not valid.", {"photo": why})
