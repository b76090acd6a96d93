"""The notes of a user. Anybody who is logged in reads and writes them."""

from django.http import JsonResponse

from accounts.models import UserNote
from accounts.shapes import note_json
from school.api import ApiView, json_body
from school.fields import Fields

from .access import find_user

SHOWN = 100


class Notes(ApiView):
    def get(self, request, pk):
        notes = UserNote.objects.filter(user=find_user(pk))
        newest_first = notes.order_by("-pk")[:SHOWN]
        return JsonResponse({"count": notes.count(), "results": [note_json(note) for note in reversed(newest_first)]})

    def post(self, request, pk):
        user = find_user(pk)
        fields = Fields(json_body(request), ("text",))
        text = fields.text("text", required=True)
        fields.check()
        note = UserNote.objects.create(user=user, text=text)
        return JsonResponse(note_json(note), status=201)
