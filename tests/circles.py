#!/usr/bin/env python3
"""Circles of files: circles.py [--src DIR] [OBJECTS]

A module is a .c and a .h of one name. It needs another when it includes that one's header, or
uses a function or an object that the other defines, as nm tells of the object files below
OBJECTS (a build directory; without one only includes are looked at). Modules that need each
other, over however many corners, form a circle: none of them can be read, tested or replaced
without all the others.

OWED_CIRCLES in the environment lists the circles that are still there, one a line, by the names
of their modules. What is not listed fails, and so does what is listed and gone. Prints how many
there are; the shortest way round for each that fails.
"""
import argparse
import collections
import os
import re
import subprocess
import sys

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)


def sources(top):
    for folder, _, names in os.walk(top):
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(folder, name), top)


def module_of(path):
    return path.rsplit(".", 1)[0]


def includes(top, modules):
    """(from, to) -> why"""
    why = {}
    for path in sources(top):
        with open(os.path.join(top, path), encoding="utf-8") as f:
            text = f.read()
        for header in INCLUDE.findall(text):
            beside = os.path.normpath(os.path.join(os.path.dirname(path), header))
            for name in (module_of(header), module_of(beside)):
                if name in modules and name != module_of(path):
                    why.setdefault((module_of(path), name), f"{path} includes \"{header}\"")
                    break
    return why


def objects(build, modules):
    """module -> the newest object file that was made of its .c"""
    found = {}
    for folder, _, names in os.walk(build):
        for name in names:
            path = os.path.join(folder, name)
            at = path.rfind("/src/")
            if at < 0 or not name.endswith(".c.o"):
                continue
            module = path[at + len("/src/"):-len(".c.o")]
            if module in modules and (module not in found or
                                      os.path.getmtime(path) > os.path.getmtime(found[module])):
                found[module] = path
    return found


def uses(found):
    """(from, to) -> why"""
    modules = {path: module for module, path in found.items()}
    out = subprocess.run(["nm", "-A", "-P", "-g"] + sorted(modules), check=True,
                         capture_output=True, text=True)
    home, needed = {}, []
    for line in out.stdout.splitlines():
        path, name, kind = re.match(r"(.*?): (\S+) (\S)", line).groups()
        if kind in "Uvw":
            needed.append((modules[path], name))
        else:
            home[name] = modules[path]
    return {(module, home[name]): f"{module}.c uses {name}"
            for module, name in sorted(needed, reverse=True) if home.get(name, module) != module}


def circles(modules, edges):
    """Strongly connected components of more than one module (Tarjan)."""
    order, low, stack, found = {}, {}, [], []

    def visit(at):
        order[at] = low[at] = len(order)
        stack.append(at)
        for to in sorted(edges[at]):
            if to not in order:
                visit(to)
                low[at] = min(low[at], low[to])
            elif to in stack:
                low[at] = min(low[at], order[to])
        if low[at] == order[at]:
            part = stack[stack.index(at):]
            del stack[stack.index(at):]
            if len(part) > 1:
                found.append(sorted(part))

    for module in sorted(modules):
        if module not in order:
            visit(module)
    return sorted(found)


def shortest_way_round(part, edges):
    best = None
    for start in part:
        came, queue = {start: None}, collections.deque([start])
        while queue:
            at = queue.popleft()
            if start in edges[at]:
                way = [start]
                while at != start:
                    way.insert(1, at)
                    at = came[at]
                if best is None or len(way) < len(best):
                    best = way
                break
            for to in sorted(edges[at] & set(part)):
                if to not in came:
                    came[to] = at
                    queue.append(to)
    return best + best[:1]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--src", default="src")
    arguments.add_argument("objects", nargs="?")
    given = arguments.parse_args()
    modules = {module_of(path) for path in sources(given.src)}
    why = includes(given.src, modules)
    if given.objects:
        found = objects(given.objects, modules)
        missing = [m for m in sorted(modules)
                   if os.path.exists(os.path.join(given.src, m + ".c")) and m not in found]
        if missing:
            print(f"not built in {given.objects}: {' '.join(missing)}")
            return 1
        for edge, reason in uses(found).items():
            why.setdefault(edge, reason)
    else:
        print("no build is given: only includes are looked at, not what is used across files")
    edges = collections.defaultdict(set)
    for a, b in why:
        edges[a].add(b)

    owed = [line.split() for line in os.environ.get("OWED_CIRCLES", "").splitlines() if line.strip()]
    there = circles(modules, edges)
    failed = False
    for part in there:
        if any(set(part) <= set(line) for line in owed):
            continue
        failed = True
        way = shortest_way_round(part, edges)
        print(f"a circle of {len(part)} files: {' '.join(part)}")
        for a, b in zip(way, way[1:]):
            print(f"    {a} -> {b}: {why[a, b]}")
    in_circles = {module for part in there for module in part}
    if given.objects:  # fewer are seen without
        for module in sorted({m for line in owed for m in line} - in_circles):
            failed = True
            print(f"{module} is in no circle any more: take it off the list of those that are owed")
    print(f"{len(there)} circles of {len(in_circles)} files, among {len(modules)}")
    return 1 if failed else 0


sys.setrecursionlimit(10000)
sys.exit(main())
