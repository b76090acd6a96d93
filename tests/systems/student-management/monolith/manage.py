#!/usr/bin/env python3
"""Entry point of the management commands. `test` runs with settings of its own, so it needs no environment."""

import os
import sys


def main():
    settings = "school.settings_tests" if sys.argv[1:2] == ["test"] else "school.settings"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings)

    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
