#!/usr/bin/env python3
"""Reads what `kustomize build` made and holds it against the API's own types, as python3-kubernetes
has them: no unknown field, none missing, each of its kind. Then what no schema says: the proxy is locked
down, its probes and ports are those of its settings, the grace fits the drain, and what one object
says of another is true.

    manifests_check.py FILE...
"""
import configparser
import re
import sys

import kubernetes.client
import yaml

API = {
    "v1": "V1", "apps/v1": "V1", "networking.k8s.io/v1": "V1", "policy/v1": "V1", "autoscaling/v2": "V2",
    "batch/v1": "V1",
}
# Not among these types; promtool has judged the rules, a person the rest.
UNTYPED = {"PodMonitor", "PrometheusRule"}
SIMPLE = {"str": str, "int": int, "bool": bool, "float": (int, float), "datetime": str}


class Wrong(Exception):
    pass


def check_type(value, kind, where):
    if kind == "object":  # a number or a name, most often
        return
    if (m := re.fullmatch(r"list\[(.*)\]", kind)):
        if not isinstance(value, list):
            raise Wrong(f"{where}: a list is wanted")
        for i, item in enumerate(value):
            check_type(item, m[1], f"{where}[{i}]")
    elif (m := re.fullmatch(r"dict\((\w+), (.*)\)", kind)):
        if not isinstance(value, dict):
            raise Wrong(f"{where}: a map is wanted")
        for key, item in value.items():
            check_type(item, m[2], f"{where}.{key}")
    elif kind in SIMPLE:
        if not isinstance(value, SIMPLE[kind]) or (kind == "int" and isinstance(value, bool)):
            raise Wrong(f"{where}: {value!r} is no {kind}")
    else:
        check_fields(value, getattr(kubernetes.client, kind), where)


def check_fields(value, model, where):
    if not isinstance(value, dict):
        raise Wrong(f"{where}: a map is wanted")
    by_json = {json: python for python, json in model.attribute_map.items()}
    given = {}
    for key, item in value.items():
        if key not in by_json:
            raise Wrong(f"{where}.{key}: {model.__name__} has no such field")
        if item is None:
            raise Wrong(f"{where}.{key}: nothing there")
        check_type(item, model.openapi_types[by_json[key]], f"{where}.{key}")
        given[by_json[key]] = item
    try:
        model(**given)  # which fields are required is known to the setters alone
    except ValueError as error:
        raise Wrong(f"{where}: {error}") from error


def expect(true, what):
    if not true:
        raise Wrong(what)


def duration_s(text):
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * (60 if unit == "m" else 1)


def settings_of(deployment, objects, proxy):
    """The ini file with the variables of the container over it."""
    volumes = {v["name"]: v for v in deployment["spec"]["template"]["spec"]["volumes"]}
    mount = next(m for m in proxy["volumeMounts"] if proxy["args"][1].startswith(m["mountPath"] + "/"))
    wanted = volumes[mount["name"]]["configMap"]["name"]
    configmap = next((o for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"] == wanted), None)
    expect(configmap, f"no ConfigMap {wanted}")
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(configmap["data"][proxy["args"][1].rsplit("/", 1)[1]])
    for variable in proxy.get("env", []):
        section, key = re.fullmatch(r"ONESHOT_PROXY_([A-Z]+)_([A-Z_]+)", variable["name"]).groups()
        ini.setdefault(section.lower(), {})
        ini[section.lower()][key.lower()] = variable["value"]
    return ini


def check_meaning(objects):
    deployment = next(o for o in objects if o["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    proxy = next(c for c in pod.get("initContainers", []) + pod["containers"] if c["name"] == "oneshot-proxy")
    sidecar = proxy in pod.get("initContainers", [])
    expect(not sidecar or proxy.get("restartPolicy") == "Always", "the sidecar is no sidecar")
    expect(sidecar or "restartPolicy" not in proxy, "a container has no restartPolicy")

    for c in pod.get("initContainers", []) + pod["containers"]:
        s = c["securityContext"]
        expect(s["allowPrivilegeEscalation"] is False and s["readOnlyRootFilesystem"] is True
               and s["capabilities"] == {"drop": ["ALL"]}, f"{c['name']} is not locked down")
        expect(re.search(r":[^/]+$", c["image"]), f"{c['image']} has no tag, so it would be whatever is the latest")
    s = pod["securityContext"]
    expect(s["runAsNonRoot"] and s["runAsUser"] > 0 and s["seccompProfile"] == {"type": "RuntimeDefault"}
           and pod["automountServiceAccountToken"] is False, "the pod is not locked down")

    ini = settings_of(deployment, objects, proxy)
    ports = {p["name"]: p["containerPort"] for p in proxy["ports"]}
    expect(ini["admin"]["address"] == f"0.0.0.0:{ports['admin']}", "the probes do not meet admin.address")
    for probe, path in ("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz"):
        get = proxy[probe]["httpGet"]
        expect(get["path"] == path and get["port"] in ports, f"{probe} asks {get}")
    if not sidecar:
        expect(ini["listen"]["address"] == f"0.0.0.0:{ports['http']}", "the port is not listen.address")
    mounts = [m["mountPath"] + "/" for m in proxy["volumeMounts"]]
    expect(not any("subPath" in m for m in proxy["volumeMounts"]), "a file mounted by subPath is never renewed")
    sections = [ini[name] for name in ("token", "listen", "freeze", "ledger") if name in ini]
    files = [value for section in sections for value in section.values() if value.startswith("/")]
    if ini["listen"]["address"].startswith("unix:"):
        files.append(ini["listen"]["address"][5:])
    for file in files:
        expect(any(file.startswith(m) for m in mounts), f"{file} is in no volume")
    grace = pod["terminationGracePeriodSeconds"]
    before = max((c.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0) for c in pod["containers"]))
    expect(grace > before + duration_s(ini["process"]["drain_timeout"]), "the grace is shorter than the drain")

    spaces = {o["metadata"]["namespace"] for o in objects if "namespace" in o["metadata"]}
    made = {o["metadata"]["name"] for o in objects if o["kind"] == "Namespace"}
    expect(spaces == made, f"namespaces that are named and not made: {spaces ^ made}")

    def selects(selector):
        return all(labels.get(k) == v for k, v in selector.items())

    named = {"volumes": {v["name"] for v in pod["volumes"]}}
    for c in pod.get("initContainers", []) + pod["containers"]:
        for m in c.get("volumeMounts", []):
            expect(m["name"] in named["volumes"], f"no volume {m['name']}")
    for o in objects:
        spec = o.get("spec", {})
        if o["kind"] == "Service":
            expect(selects(spec["selector"]) and all(p["targetPort"] in ports for p in spec["ports"]), "Service")
        elif o["kind"] == "Job":
            job = spec["template"]["spec"]
            volumes = {v["name"] for v in job["volumes"]}
            for c in job["containers"]:
                expect(c["image"] == proxy["image"], f"Job: {c['image']} is not the image of the proxy, {proxy['image']}")
                expect(all(m["name"] in volumes for m in c["volumeMounts"]), "Job: no such volume")
                expect({m["mountPath"] for m in c["volumeMounts"]} <= {m["mountPath"] for m in proxy["volumeMounts"]}, "Job: mounts")
            expect(job["automountServiceAccountToken"] is False and job["securityContext"]["runAsNonRoot"], "Job: not locked down")
        elif o["kind"] in ("PodDisruptionBudget", "PodMonitor", "Deployment"):
            expect(selects(spec["selector"]["matchLabels"]), o["kind"])
        elif o["kind"] == "NetworkPolicy":
            expect(selects(spec["podSelector"]["matchLabels"]), "NetworkPolicy")
        elif o["kind"] == "HorizontalPodAutoscaler":
            ref = spec["scaleTargetRef"]
            expect(ref["name"] == deployment["metadata"]["name"] and ref["kind"] == "Deployment", "HPA")
            expect("replicas" not in deployment["spec"], "the autoscaler and the Deployment both say how many")
        if o["kind"] == "PodMonitor":
            expect(all(e["port"] in ports for e in spec["podMetricsEndpoints"]), "PodMonitor: no such port")


def main():
    wrong = 0
    for name in sys.argv[1:]:
        with open(name, encoding="utf-8") as file:
            objects = [o for o in yaml.safe_load_all(file) if o]
        untyped = []
        try:
            for o in objects:
                where = f"{o['kind']}/{o['metadata']['name']}"
                if o["kind"] in UNTYPED:
                    untyped.append(o["kind"])
                    continue
                check_fields(o, getattr(kubernetes.client, API[o["apiVersion"]] + o["kind"]), where)
            check_meaning(objects)
            print(f"ok {name}: {len(objects)} objects" + (f", not held against a schema: {', '.join(untyped)}" if untyped else ""))
        except Wrong as error:
            wrong += 1
            print(f"FAILED {name}: {error}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
