#!/usr/bin/env python3
"""The table of rows in README.md beside this file, and the tests that name them.

    rows.py check | write

The comment in front of a test says what must be, and at its end which rows that proves:
"(row 17)", "(rows 44, 45)". `check` fails when the table's last column is not what the tests say,
and when a row is neither proven by one nor listed under "Not in ctest". `write` makes that column
anew."""
import glob
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
README = os.path.join(HERE, "README.md")
ROWS = 85
FUNCTION = re.compile(r"((?:/\*(?:[^*]|\*(?!/))*\*/\s*)+)static void (\w+)\(void \*\*state\)")


def numbers(text):
    """17, and 44 and 45, of "row 17 ... rows 44, 45"."""
    found = set()
    for match in re.finditer(r"\brows? (\d+(?:(?:, | and )\d+)*)", text):
        found |= {int(n) for n in re.findall(r"\d+", match[1])}
    return found


def proven():
    """row -> ["file: test", ...]"""
    tests = {}
    for path in sorted(glob.glob(os.path.join(HERE, "..", "**", "test_*.c"), recursive=True)):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        name = os.path.basename(path)[len("test_") : -len(".c")]
        # what the head of a file says holds for all of its tests
        whole = numbers(text[: text.find("*/")])
        bare = re.compile(r"static void (\w+)\(void \*\*state\)")
        said = {m[2]: numbers(m[1][m[1].rfind("\n\n") + 1 :]) for m in FUNCTION.finditer(text)}
        for match in bare.finditer(text):
            for row in whole | said.get(match[1], set()):
                tests.setdefault(row, []).append((name, match[1]))
    return tests


def column(tests):
    return "; ".join(f"{file}: {name}" for file, name in tests)


def main():
    tests = proven()
    with open(README, encoding="utf-8") as file:
        text = file.read()
    table, _, rest = text.partition("## Not in ctest")
    elsewhere = {int(n) for n in re.findall(r"^- row (\d+)", rest, re.MULTILINE)}
    wrong, seen, lines = [], set(), []
    for line in table.split("\n"):
        match = re.match(r"\| (\d+) \|", line)
        if match:
            row = int(match[1])
            seen.add(row)
            cells = line.split(" | ")
            wanted = column(tests.get(row, [])) or "-"
            if cells[-1].rstrip(" |") != wanted:
                wrong.append(f"row {row}: the tests are not those that name it")
                line = " | ".join(cells[:-1]) + f" | {wanted} |"
        lines.append(line)
    if sys.argv[1:] == ["write"]:
        with open(README, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + ("## Not in ctest" + rest if rest else ""))
        wrong = []
    for row in range(1, ROWS + 1):
        if row not in seen:
            wrong.append(f"row {row} is not in the table")
        if row not in tests and row not in elsewhere:
            wrong.append(f"row {row} is proven by no test and not listed as such")
    for line in wrong:
        print(line)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
