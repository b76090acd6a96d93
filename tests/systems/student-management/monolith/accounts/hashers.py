"""Password hashes in Django's own format (`pbkdf2_sha256$iterations$salt$hash`) that a log-in leaves as they are."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class SteadyPBKDF2PasswordHasher(PBKDF2PasswordHasher):
    """Never asks for a rehash: a log-in writes `last_login` and no other column of the user."""

    def must_update(self, encoded):
        return False


class FastPBKDF2PasswordHasher(SteadyPBKDF2PasswordHasher):
    """Cheap enough to log in thousands of users on two cores. For tests only."""

    iterations = 2_000
