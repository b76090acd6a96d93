"""Asks for flags as a monolith would: OpenFeature's SDK with its OFREP provider. Prints what it was told, as JSON."""

import json
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext


def main():
    api.set_provider(OFREPProvider(base_url=sys.argv[1], headers_factory=lambda: {"Authorization": "Bearer ask"}))
    client = api.get_client()
    told = []
    for user in map(str, range(60)):
        context = EvaluationContext(targeting_key=user)
        asked = {
            "new-profile": client.get_boolean_details("new-profile", False, context),
            "size": client.get_integer_details("size", -1, context),
            "look": client.get_object_details("look", {}, context),
            "hello": client.get_string_details("hello", "", context),
        }
        for flag, details in asked.items():
            if details.error_code:
                sys.exit(f"{flag}: {details.error_code} {details.error_message}")
            told.append({"flag": flag, "user": user, "value": details.value, "variant": details.variant})
    pro = client.get_integer_value("size", -1, EvaluationContext(targeting_key="1", attributes={"plan": "pro"}))
    if pro != 100:
        sys.exit(f"an attribute makes no difference: {pro}")
    if client.get_boolean_details("nothing", True).error_code is None:
        sys.exit("a flag that there is not was found")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
