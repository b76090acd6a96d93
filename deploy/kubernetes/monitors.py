"""Prints the Prometheus operator's own schemas (monitoring.coreos.com/v1) by kind, out of a package that is generated from its
definitions. They are closed: what a definition does not name is a fault, as it is where a cluster validates strictly."""

import json

KINDS = ("ServiceMonitor", "PodMonitor", "PrometheusRule")


def closed(schema):
    """Nothing but what is named, and no null in place of what is left out: the definitions have none."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    choices = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if len(choices) == 1:
        return closed(choices[0])
    schema = {key: closed(one) for key, one in schema.items() if key != "default"}
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    return schema


def schemas():
    # Takes seconds: each definition is a class.
    from cloudcoil.models.prometheus_operator import v1

    return {kind: closed(getattr(v1, kind).model_json_schema(by_alias=True)) for kind in KINDS}


if __name__ == "__main__":
    print(json.dumps(schemas()))
