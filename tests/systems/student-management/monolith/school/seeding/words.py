"""Names, sentences, times and pictures to fill a school with."""

import struct
import zlib
from datetime import UTC, date, datetime, timedelta

NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
TODAY = date(2026, 1, 2)

FIRST_NAMES = "Ada Ben Cleo Dara Eli Fay Gus Hana Ivo June Kai Lea Milo Nia Otis Pia Quin Rosa Sami Tess".split()
LAST_NAMES = (
    "Ash Birch Cole Dale Elm Ford Grove Hill Isle Jade Knoll Lake Moor Nash Oakes Pond Ray Stone Thorn Vale".split()
)
STREETS = "High St,Mill Lane,Station Rd,Church Walk,Orchard Way,Bridge St,Park Row".split(",")
GENDERS = ["female", "male", "other"]
FIELDS = "Biology Chemistry Computing Economics Geography History Languages Mathematics Music Physics".split()
TOPICS = ["Foundations", "Methods", "Practice", "Seminar"]
SENTENCES = [
    "Please come to the office this week.",
    "The room of the lesson has changed.",
    "Thank you for the quick answer.",
    "The library books are due.",
    "A visit to the doctor.",
    "The projector in room 4 is broken; naïve repairs did not help.",
    'It\'s the "annual" family visit,\nback on Monday.',
]


def moment(dice):
    """A time in the year before NOW. One in twenty is a whole second, as imported rows have."""
    ago = timedelta(seconds=dice.randrange(365 * 86_400), microseconds=dice.randrange(1_000_000))
    then = NOW - ago
    return then.replace(microsecond=0) if dice.random() < 0.05 else then


def address(dice):
    return f"{dice.randint(1, 120)} {dice.choice(STREETS)}"


def png(dice, side=16):
    """A valid picture of one colour."""
    colour = bytes(dice.randrange(256) for _ in range(3))
    rows = (b"\0" + colour * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
