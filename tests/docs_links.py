#!/usr/bin/env python3
"""What the documents point to is there: docs_links.py

In every Markdown file of the tree: a link to a file leads to one of the tree, a link to a heading to a heading that exists, a
reference `[text][name]` has its target, and a path of the tree in backticks (`src/…`, `tests/…`) exists. Also: the first page stays
a first page, each document can be reached from it, and docs/architecture.md has each folder of src. Addresses outside the tree are not asked.
"""
import pathlib
import re
import subprocess
import sys
import unicodedata

TREE = pathlib.Path(__file__).resolve().parent.parent
README_LINES_MAX = 200
OURS = r"(?:src|tests|docs|conf|docker|cmake)/[\w./@-]*\w|\.ci/run"


def files():
    listed = subprocess.run([TREE / "tests/files.sh", "*.md"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [TREE / name for name in listed.splitlines()]


def without_code(text):
    """The text with its fenced blocks blanked, so that lines keep their numbers."""
    return re.sub(r"^```.*?^```$", lambda m: "\n" * m[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)


def anchor(heading, seen):
    """As GitHub makes it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    text = "".join(c for c in text if c in "-_ " or unicodedata.category(c)[0] in "LN").replace(" ", "-")
    number = seen.get(text, 0)
    seen[text] = number + 1
    return f"{text}-{number}" if number else text


def anchors(path):
    seen = {}
    headings = re.findall(r"^#{1,6} +(.*)$", without_code(path.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {anchor(h, seen) for h in headings}


def targets(text):
    """Yields (line, target) of each link and picture."""
    for number, line in enumerate(text.splitlines(), 1):
        bare = re.sub(r"`[^`]*`", "", line)
        for target in re.findall(r"\]\(([^)\s]+)\)", bare):
            yield number, target
        for target in re.findall(r'(?:src|href)="([^"]+)"', bare):
            yield number, target
        if m := re.match(r"\[[^\]]+\]: +(\S+)", line):
            yield number, m[1]


def check(path, linked):
    text = without_code(path.read_text(encoding="utf-8"))
    name = path.relative_to(TREE)
    for number, target in targets(text):
        if re.match(r"https?://|mailto:", target):
            continue
        file, _, heading = target.partition("#")
        led = (path.parent / file).resolve() if file else path
        if not led.exists() or TREE not in led.parents:
            yield f"{name}:{number}: leads nowhere: {target}"
        elif heading and heading not in anchors(led):
            yield f"{name}:{number}: {led.relative_to(TREE)} has no heading '{heading}'"
        linked.setdefault(path, set()).add(led)
    defined = set(re.findall(r"^\[([^\]]+)\]: ", text, flags=re.MULTILINE))
    for used in re.findall(r"\]\[([^\]]+)\]", re.sub(r"`[^`\n]*`", "", text)):
        if used not in defined:
            yield f"{name}: [{used}] is not defined"
    for number, line in enumerate(text.splitlines(), 1):
        for said in re.findall(r"`(" + OURS + r")`", line):
            if not (TREE / said).exists() and not said.startswith("build/"):
                yield f"{name}:{number}: there is no {said}"


def main():
    linked = {}
    documents = files()
    faults = [fault for path in documents for fault in check(path, linked)]
    lines = len((TREE / "README.md").read_text(encoding="utf-8").splitlines())
    if lines > README_LINES_MAX:
        faults.append(f"README.md has {lines} lines; a first page has {README_LINES_MAX} at most")
    architecture = (TREE / "docs/architecture.md").read_text(encoding="utf-8")
    for folder in sorted((TREE / "src").iterdir()):
        if folder.is_dir() and f"| `src/{folder.name}` |" not in architecture:
            faults.append(f"docs/architecture.md does not say what is in src/{folder.name}")
    reached, todo = set(), [TREE / "README.md"]
    while todo:
        path = todo.pop()
        if path not in reached:
            reached.add(path)
            todo += linked.get(path, ())
    for path in documents:
        if path not in reached:
            faults.append(f"{path.relative_to(TREE)} cannot be reached from README.md")
    print("\n".join(faults) or f"{len(documents)} documents, {sum(map(len, linked.values()))} links")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
