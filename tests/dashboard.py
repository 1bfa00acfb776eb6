#!/usr/bin/env python3
"""The Grafana dashboard asks only for metrics that the program has, by labels that they have, in queries
that Prometheus can read; and the alerts for the Prometheus operator are those of conf/alerts.yml.

    dashboard.py PROGRAM PROMTOOL
"""
import json
import os
import re
import subprocess
import sys
import tempfile

tree = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
wrong = []


def known_metrics(program):
    """Name -> labels, as the samples of /metrics have them."""
    table = subprocess.run([program, "--print-metrics"], check=True, capture_output=True, text=True).stdout
    known = {}
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", table, re.M):
        labels = set(re.findall(r"\w+", labels)) | {"job", "instance"}
        if kind == "histogram":
            known.update({name + "_sum": labels, name + "_count": labels, name + "_bucket": labels | {"le"}})
        else:
            known[name] = labels
    return known


def expressions(part):
    if isinstance(part, dict):
        if isinstance(part.get("expr"), str):
            yield part["expr"]
        if isinstance(part.get("query"), dict):
            inside = re.fullmatch(r"label_values\((.*), (\w+)\)", part["query"]["query"])
            if not inside:
                wrong.append("no label_values: " + part["query"]["query"])
            else:
                yield f"group by ({inside[2]}) ({inside[1]})"
        for value in part.values():
            yield from expressions(value)
    elif isinstance(part, list):
        for value in part:
            yield from expressions(value)


def check(expression, known):
    for name, selector in re.findall(r"\b(oneshot_proxy_\w+)(\{[^}]*\})?", expression):
        if name not in known:
            wrong.append(f"no metric {name}: {expression}")
            continue
        for label in re.findall(r"(\w+)[!=]=?~?\"", selector):
            if label not in known[name]:
                wrong.append(f"{name} has no label {label}: {expression}")
    names = re.findall(r"\boneshot_proxy_\w+", expression)
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        for label in re.findall(r"\w+", labels):
            if not any(label in known.get(name, ()) for name in names):
                wrong.append(f"nothing here has a label {label}: {expression}")


def check_syntax(all_expressions, promtool):
    with tempfile.TemporaryDirectory() as directory:
        rules = os.path.join(directory, "rules.json")  # JSON is YAML
        with open(rules, "w", encoding="utf-8") as file:
            json.dump({"groups": [{"name": "dashboard", "rules": [
                {"record": f"query:{i}", "expr": e.replace("$__rate_interval", "1m")}
                for i, e in enumerate(all_expressions)]}]}, file)
        result = subprocess.run([promtool, "check", "rules", rules], capture_output=True, text=True)
        if result.returncode != 0:
            wrong.append(result.stdout + result.stderr)


def check_operator_rules():
    with open(os.path.join(tree, "conf/alerts.yml"), encoding="utf-8") as file:
        plain = file.read()
    with open(os.path.join(tree, "docker/kubernetes/components/monitoring/rules.yaml"), encoding="utf-8") as file:
        wrapped = file.read()
    want = re.sub(r"^(?=.)", "  ", plain[plain.index("groups:"):], flags=re.M)
    if wrapped.split("\nspec:\n", 1)[1] != want:
        wrong.append("docker/kubernetes/components/monitoring/rules.yaml differs from conf/alerts.yml")


def main():
    program, promtool = sys.argv[1:3]
    with open(os.path.join(tree, "docker/grafana/oneshot-proxy.json"), encoding="utf-8") as file:
        dashboard = json.load(file)
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(set(ids)) != len(ids):
        wrong.append("two panels with one id")
    found = list(expressions(dashboard))
    known = known_metrics(program)
    if len(found) < 20 or len(known) < 20:
        wrong.append("hardly anything found")
    for expression in found:
        check(expression, known)
    check_operator_rules()
    readable = os.access(promtool, os.X_OK)
    if readable:
        check_syntax(found, promtool)
    for line in wrong:
        print("FAILED", line)
    if wrong:
        return 1
    print(len(found), "queries")
    if not readable:
        print("no promtool: whether Prometheus can read them was not tried")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
