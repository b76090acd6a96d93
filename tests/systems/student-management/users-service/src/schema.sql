-- The tables of the users service. Every statement may run on a database that has them already,
-- filled by somebody else: nothing here changes or drops what stands.
--
-- Times are text in UTC, `2026-01-02 03:04:05.000006`. `id` is the UUID inside the service,
-- `legacy_id` the integer that the public knows.

CREATE TABLE IF NOT EXISTS users (
    id           TEXT PRIMARY KEY NOT NULL,
    legacy_id    INTEGER NOT NULL UNIQUE,
    username     TEXT NOT NULL UNIQUE,
    email        TEXT NOT NULL DEFAULT '',
    password     TEXT NOT NULL,
    given_name   TEXT NOT NULL DEFAULT '',
    family_name  TEXT NOT NULL DEFAULT '',
    role         TEXT NOT NULL CHECK (role IN ('admin', 'staff', 'student')),
    is_active    INTEGER NOT NULL DEFAULT 1,
    is_staff     INTEGER NOT NULL DEFAULT 0,
    is_superuser INTEGER NOT NULL DEFAULT 0,
    joined_at    TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS users_by_role ON users (role, legacy_id);

-- One per user, of the kind of the user's role. What a kind does not have is NULL.
CREATE TABLE IF NOT EXISTS profiles (
    id              TEXT PRIMARY KEY NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('admin', 'staff', 'student')),
    legacy_id       INTEGER NOT NULL,
    user_id         TEXT NOT NULL UNIQUE REFERENCES users (id),
    address         TEXT DEFAULT '',
    gender          TEXT,
    course_id       INTEGER,
    session_year_id INTEGER,
    created_at      TEXT NOT NULL,
    updated_at      TEXT NOT NULL,
    UNIQUE (kind, legacy_id)
);

CREATE TABLE IF NOT EXISTS notes (
    id         TEXT PRIMARY KEY NOT NULL,
    legacy_id  INTEGER NOT NULL UNIQUE,
    user_id    TEXT NOT NULL REFERENCES users (id),
    text       TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS notes_by_user ON notes (user_id, legacy_id);

-- `legacy_id` is the integer id of the user: a photo has no number of its own.
CREATE TABLE IF NOT EXISTS photos (
    user_id      TEXT PRIMARY KEY NOT NULL REFERENCES users (id),
    legacy_id    INTEGER NOT NULL UNIQUE,
    content_type TEXT NOT NULL,
    sha256       TEXT NOT NULL,
    data         BLOB NOT NULL,
    uploaded_at  TEXT NOT NULL
);

-- Sequences. A number is taken by inserting a row, in the transaction that uses it.
CREATE TABLE IF NOT EXISTS seq_users            (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE IF NOT EXISTS seq_profiles_admin   (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE IF NOT EXISTS seq_profiles_staff   (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE IF NOT EXISTS seq_profiles_student (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE IF NOT EXISTS seq_notes            (id INTEGER PRIMARY KEY AUTOINCREMENT);
