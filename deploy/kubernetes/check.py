"""Checks the manifests in a folder (by default its own): each object against the published schema of Kubernetes or of the Prometheus
operator, and what no schema sees: whether names that point at each other agree. One line for each fault; `--objects` prints all objects as
JSON instead. `--monitors FILE`: the operator's schemas, as `monitors.py` has printed them before."""

import argparse
import functools
import json
import pathlib
import sys
import tomllib

import jsonschema
import kubernetes_validate
import monitors
import yaml

VERSION = "1.33"
COMPONENT = "app.kubernetes.io/component"

# The part of kustomize's own file that is used here.
KUSTOMIZATION = {
    "type": "object",
    "required": ["apiVersion", "kind", "namespace", "resources", "configMapGenerator"],
    "properties": {
        "apiVersion": {"const": "kustomize.config.k8s.io/v1beta1"},
        "kind": {"const": "Kustomization"},
        "namespace": {"type": "string"},
        "resources": {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 1},
        "configMapGenerator": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "files"],
                "properties": {
                    "name": {"type": "string"},
                    "files": {"type": "array", "items": {"type": "string", "pattern": "^([^=]+=)?[^=]+$"}, "uniqueItems": True, "minItems": 1},
                    "options": {
                        "type": "object",
                        "properties": {"disableNameSuffixHash": {"type": "boolean"}},
                        "additionalProperties": False,
                    },
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}


def name(item):
    return f"{item['kind']} {item['metadata']['name']}"


def schema_faults(item, operator):
    if item["apiVersion"] == "monitoring.coreos.com/v1":
        found = jsonschema.Draft202012Validator(operator()[item["kind"]]).iter_errors(item)
        return sorted(f"{'.'.join(map(str, fault.path)) or 'as a whole'}: {fault.message}" for fault in found)
    try:
        kubernetes_validate.validate(item, VERSION, strict=True)
    except kubernetes_validate.ValidationError as fault:
        return [f"{'.'.join(map(str, fault.path))}: {fault.message}"]
    return []


def selects(selector, labels):
    expressions = selector.get("matchExpressions", [])
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        one["key"] in labels for one in expressions if one["operator"] == "Exists"
    )


def workloads(items):
    return [item for item in items if item["kind"] in ("Deployment", "StatefulSet")]


def container_faults(item, kustomization):
    spec = item["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in spec["volumes"]} | {
        claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", [])
    }
    maps = {one["name"] for one in kustomization["configMapGenerator"]}
    for volume in spec["volumes"]:
        if "configMap" in volume and volume["configMap"]["name"] not in maps:
            yield f"no map {volume['configMap']['name']} is generated"
    for container in spec["containers"]:
        ports = {port["name"] for port in container["ports"]}
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        if mounted != volumes:
            yield f"volumes {sorted(volumes)}, mounted are {sorted(mounted)}"
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe in container and container[probe]["httpGet"]["port"] not in ports:
                yield f"{probe} asks a port that it has not"
        for guard in ("startupProbe", "livenessProbe"):
            if guard not in container:
                yield f"no {guard}"
        secured = container.get("securityContext", {})
        if secured.get("allowPrivilegeEscalation") is not False or not secured.get("readOnlyRootFilesystem"):
            yield "the container may do more than it needs"
    if spec.get("automountServiceAccountToken") is not False:
        yield "a token of the cluster's API is mounted"
    if not selects(item["spec"]["selector"], item["spec"]["template"]["metadata"]["labels"]):
        yield "its selector does not find its own pods"


def relation_faults(items, kustomization):
    pods = {
        item["spec"]["template"]["metadata"]["labels"][COMPONENT]: item["spec"]["template"] for item in workloads(items)
    }
    services = {item["metadata"]["name"]: item for item in items if item["kind"] == "Service"}
    accounts = {item["metadata"]["name"] for item in items if item["kind"] == "ServiceAccount"}
    for item in workloads(items):
        for fault in container_faults(item, kustomization):
            yield f"{name(item)}: {fault}"
        if item["spec"]["template"]["spec"]["serviceAccountName"] not in accounts:
            yield f"{name(item)}: no such account"
        if item["kind"] == "StatefulSet" and item["spec"]["serviceName"] not in services:
            yield f"{name(item)}: no service {item['spec']['serviceName']}"
        component = item["spec"]["template"]["metadata"]["labels"][COMPONENT]
        budgets = [one for one in items if one["kind"] == "PodDisruptionBudget" and selects(one["spec"]["selector"], pods[component]["metadata"]["labels"])]
        if len(budgets) != 1:
            yield f"{name(item)}: {len(budgets)} disruption budgets"
    for item in items:
        if item["kind"] == "Service":
            found = [pod for pod in pods.values() if selects({"matchLabels": item["spec"]["selector"]}, pod["metadata"]["labels"])]
            if len(found) != 1:
                yield f"{name(item)}: finds the pods of {len(found)} workloads"
            offered = {port["name"] for pod in found for one in pod["spec"]["containers"] for port in one["ports"]}
            for port in item["spec"]["ports"]:
                if port["targetPort"] not in offered:
                    yield f"{name(item)}: no pod offers {port['targetPort']}"
        if item["kind"] == "ServiceMonitor":
            found = [one for one in services.values() if selects(item["spec"]["selector"], one["metadata"].get("labels", {}))]
            seen = {one["spec"]["selector"][COMPONENT] for one in found}
            if seen != set(pods):
                yield f"{name(item)}: sees {sorted(seen)} of {sorted(pods)}"
            for one in found:
                if not {endpoint.get("port") for endpoint in item["spec"]["endpoints"]} <= {port["name"] for port in one["spec"]["ports"]}:
                    yield f"{name(item)}: {name(one)} has no such port"
        if item["kind"] == "NetworkPolicy" and not any(selects(item["spec"]["podSelector"], pod["metadata"]["labels"]) for pod in pods.values()):
            yield f"{name(item)}: it is about no pod"
        if item["kind"] == "RoleBinding":
            wanted = [subject["name"] for subject in item["subjects"]]
            if not set(wanted) <= accounts or item["roleRef"]["name"] not in {one["metadata"]["name"] for one in items if one["kind"] == "Role"}:
                yield f"{name(item)}: points at nobody"
    mounted = {volume["configMap"]["name"] for item in workloads(items) for volume in item["spec"]["template"]["spec"]["volumes"] if "configMap" in volume}
    for generator in kustomization["configMapGenerator"]:
        if generator["name"] not in mounted:
            yield f"kustomization.yaml: nobody mounts {generator['name']}"


def orchestrator_faults(items, folder):
    """Of several, whoever asks has to reach each of them by a name of its own, and all have to share one state."""
    one = next(item for item in workloads(items) if item["spec"]["template"]["metadata"]["labels"][COMPONENT] == "orchestrator")
    replicas, service = one["spec"].get("replicas", 1), one["spec"].get("serviceName")
    if one["kind"] != "StatefulSet":
        yield f"{name(one)}: pods without names that stay"
        return
    found = next((item["spec"] for item in items if item["kind"] == "Service" and item["metadata"]["name"] == service), {})
    if found.get("clusterIP") != "None" or not found.get("publishNotReadyAddresses"):
        yield f"Service {service}: it spreads over all orchestrators, or hides some: make it headless, with addresses that are not ready"
    port = found.get("ports", [{}])[0].get("port")
    reached = [f"http://{one['metadata']['name']}-{at}.{service}:{port}" for at in range(replicas)]
    variables = {variable["name"]: variable for variable in one["spec"]["template"]["spec"]["containers"][0].get("env", [])}
    pod = next((own for own, said in variables.items() if said.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath") == "metadata.name"), None)
    own = variables.get("FICUS_ORCHESTRATOR_ADDRESS", {}).get("value", "")
    if pod is None or own != f"http://$({pod}).{service}:{port}":
        yield f"{name(one)}: FICUS_ORCHESTRATOR_ADDRESS is not the pod's own address"
    elif list(variables).index(pod) > list(variables).index("FICUS_ORCHESTRATOR_ADDRESS"):
        yield f"{name(one)}: {pod} is named before it is set"
    for item in workloads(items):
        words = item["spec"]["template"]["spec"]["containers"][0]["args"]
        if "--admin" in words and words[words.index("--admin") + 1].split(",") != reached:
            yield f"{name(item)}: --admin is not {','.join(reached)}"
    config = tomllib.loads((folder / "config/orchestrator.toml").read_text(encoding="utf-8"))
    if replicas > 1 and "etcd" not in config["orchestrator"]:
        yield f"{name(one)}: {replicas} of them and no [orchestrator.etcd]: each would begin with a state of its own"


def kustomization_faults(kustomization, folder):
    """What kustomize would refuse, or leave out in silence."""
    found = list(jsonschema.Draft7Validator(KUSTOMIZATION).iter_errors(kustomization))
    if found:
        yield from (f"{'.'.join(map(str, fault.path)) or 'as a whole'}: {fault.message}" for fault in found)
        return
    named = [*kustomization["resources"]]
    for generator in kustomization["configMapGenerator"]:
        keys = [file.split("=")[0] if "=" in file else pathlib.PurePath(file).name for file in generator["files"]]
        if len(set(keys)) != len(keys):
            yield f"{generator['name']}: two files under one key"
        named += [file.split("=")[-1] for file in generator["files"]]
    for file in named:
        if not (folder / file).is_file():
            yield f"no file {file}"
    there = [file.relative_to(folder) for file in folder.rglob("*") if file.suffix in (".yaml", ".toml")]
    unnamed = sorted({file.as_posix() for file in there} - {"kustomization.yaml", *named})
    if unnamed:
        yield f"nobody names {', '.join(unnamed)}"
    generated = [generator["name"] for generator in kustomization["configMapGenerator"]]
    if len(set(generated)) != len(generated):
        yield "two maps of one name"


def read(folder, operator):
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    faults = [f"kustomization.yaml: {fault}" for fault in kustomization_faults(kustomization, folder)]
    if faults:
        return [], kustomization, faults
    items = []
    for file in kustomization["resources"]:
        for item in yaml.safe_load_all((folder / file).read_text(encoding="utf-8")):
            items.append(item)
            faults += [f"{file}: {name(item)}: {fault}" for fault in schema_faults(item, operator)]
    # Two of one kind and name, and kustomize refuses the whole.
    named = [(item["kind"], item["metadata"]["name"]) for item in items]
    faults += [f"{kind} {one}: there are {named.count((kind, one))}" for kind, one in sorted(set(named)) if named.count((kind, one)) > 1]
    namespace = kustomization["namespace"]
    if ("Namespace", namespace) not in named:
        faults.append(f"kustomization.yaml: no namespace {namespace} is made")
    return items, kustomization, faults


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    arguments.add_argument("--objects", action="store_true")
    arguments.add_argument("--monitors", type=pathlib.Path)
    given = arguments.parse_args()
    folder, printed = given.folder, given.monitors
    operator = functools.cache(lambda: json.loads(printed.read_text(encoding="utf-8")) if printed else monitors.schemas())
    items, kustomization, faults = read(folder, operator)
    if given.objects:
        print(json.dumps({"items": items, "kustomization": kustomization}))
        return
    faults = faults or [*relation_faults(items, kustomization), *orchestrator_faults(items, folder)]
    print("\n".join(faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
