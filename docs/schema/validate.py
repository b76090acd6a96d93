"""Checks TOML files against a JSON Schema: `python validate.py SCHEMA FILE…`. One line for each file that does not fit."""

import json
import sys
import tomllib

from jsonschema import Draft7Validator


def main():
    schema, *files = sys.argv[1:]
    with open(schema, encoding="utf-8") as file:
        validator = Draft7Validator(json.load(file))
    Draft7Validator.check_schema(validator.schema)
    wrong = 0
    for name in files:
        with open(name, "rb") as file:
            faults = sorted(validator.iter_errors(tomllib.load(file)), key=lambda fault: list(map(str, fault.path)))
        if faults:
            place = "/".join(map(str, faults[0].path)) or "the file"
            print(f"{name}: {place}: {faults[0].message}")
            wrong += 1
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
