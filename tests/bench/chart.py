"""The report of ./dev bench: tables in Markdown, and one chart in SVG; of one run or of several."""
import statistics

COLOURS = {"oneshot": "#2563eb", "oneshot+mimalloc": "#60a5fa", "oneshot+callers": "#1e3a8a",
           "nginx": "#16a34a", "nginx+lua": "#65a30d", "haproxy": "#d97706", "caddy": "#9333ea"}
LABELS = {"oneshot": "oneshot-proxy", "oneshot+mimalloc": "with mimalloc", "oneshot+callers": "with 32 callers",
          "nginx+lua": "nginx + Lua"}


class Middle(float):
    """One figure of several runs: their median, and in `low` and `high` the extremes."""

    def __new__(cls, values):
        self = super().__new__(cls, statistics.median(values))
        self.low, self.high = min(values), max(values)
        return self


def together(runs):
    """The results of several runs as those of one, each number a Middle of theirs. What only some of
    them have is left out."""
    first = runs[0]
    if isinstance(first, dict):
        return {k: together([r[k] for r in runs]) for k in first if all(k in r for r in runs)}
    if isinstance(first, list):
        return [together(list(same)) for same in zip(*runs)]
    if len(set(runs)) == 1:
        return first
    return Middle(runs)


def ratio_text(ratio):
    """1.21, or of several runs "1.18 to 1.25"."""
    low, high = (f"{getattr(ratio, end, ratio):.2f}" for end in ("low", "high"))
    return low if low == high else f"{low} to {high}"


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def label(name):
    return LABELS.get(name, name)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def with_ratio(values, ratio, name, digits=1):
    if name not in values:
        return "-"
    text = f"{values[name]:,.{digits}f}"
    return text if name == "nginx" or name not in ratio else f"{text} ({ratio_text(ratio[name])})"


def names_of(values):
    return [n for n in COLOURS if n in values]


def load_table(rows, what, ratio, title, digits, extra=()):
    names = names_of(rows[0][what])
    body = [[row["kind"], *(str(row[e]) for e in extra), str(row["connections"]),
             *(with_ratio(row[what], row[ratio], n, digits) for n in names)] for row in rows]
    return f"### {title}\n\n" + table(
        ["request", *extra, "connections", *(label(n) for n in names)], body) + "\n"


def latency_tables(rows):
    names = names_of(rows[0]["p50_us"])
    body = []
    for row in rows:
        for what, title in (("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9")):
            body.append([f"{row['connections']}", f"{row['rate']:,.0f}", title,
                         *(with_ratio(row[what], row[what + "_ratio"], n, 0) for n in names)])
    return "### Latency at a fixed rate, µs from when the request was due\n\n" + table(
        ["connections", "requests/s", "", *(label(n) for n in names)], body) + "\n"


def counts_tables(rows):
    names = names_of(rows[0]["syscalls"])
    body = []
    for row in rows:
        for what in ("syscalls", "allocations"):
            body.append([str(row["connections"]), what.replace("syscalls", "system calls"),
                         *(f"{row[what][n]:.2f}" if n in row[what] else "-" for n in names)])
    return "### System calls and allocations a request (GET, keep-alive)\n\n" + table(
        ["connections", "", *(label(n) for n in names)], body) + "\n"


def bulk_table(rows):
    names = names_of(rows[0]["mb_s"])
    body = []
    for row in rows:
        body.append([row["way"], "MB/s", *(f"{row['mb_s'][n]:,.0f}" for n in names)])
        body.append([row["way"], "CPU s per GiB",
                     *(with_ratio(row["cpu_s"], row["cpu_ratio"], n, 2) for n in names)])
    return "### 1 GiB on one connection\n\n" + table(["", "", *(label(n) for n in names)], body) + "\n"


def memory_table(memory):
    rows, names = memory["rows"], names_of(memory["rows"])
    idle, slow = memory["idle"], memory["slow"]
    body = []
    for key, title in (("rest_kib", "at rest"), ("one_kib", "after one request"),
                       ("fresh_kib", f"{idle:,} idle connections, unused"),
                       ("used_kib", f"{idle:,} idle connections, each used once"),
                       ("slow_kib", f"{slow:,} streams whose readers do not read")):
        body.append([title, *(f"{rows[n][key] / 1024:.1f}" for n in names)])
    body.append(["KiB for each idle connection, used once",
                 *(f"{(rows[n]['used_kib'] - rows[n]['one_kib']) / idle:.1f}" for n in names)])
    return "### Resident memory, MiB\n\n" + table(["", *(label(n) for n in names)], body) + "\n"


def start_table(values):
    names = names_of(values)
    return "### From exec to the first forwarded answer, ms\n\n" + table(
        [label(n) for n in names], [[f"{values[n]:.1f}" for n in names]]) + "\n"


def renewal_text(row):
    return (f"### Token renewal\n\nAt {row['rate']:,.0f} requests/s, p99 is {row['p99_us']['2 s']:.0f} µs while the "
            f"token is renewed every second, {row['p99_us']['hour']:.0f} µs with one that lives an hour (median of pairwise "
            f"ratios {ratio_text(row['p99_ratio'])}); {row['errors']:.0f} errors.\n\n")


def report(results, env, runs=1):
    text = (f"## Results\n\nOf {env['date']}: oneshot-proxy {env['program']}; {env['versions']}; {env['system']}; "
            f"{env['cpu']}. {told(runs)}\n\n")
    if "cpu" in results:
        text += load_table(results["cpu"], "cpu_us", "cpu_ratio", "CPU time a request, µs", 1)
        text += load_table(results["cpu"], "rps", "rps_ratio", "Requests a second, one worker", 0)
    for key, title, extra in (
            ("http2", "CPU time a request, µs, HTTP/2 to the origin (nginx: HTTP/1.1)", ()),
            ("logged", "CPU time a request, µs, with an access log", ()),
            ("callers", "CPU time a request, µs, with and without 32 callers", ()),
            ("workers", "CPU time a request, µs, by workers", ("workers",)),
            ("open", "CPU time a request, µs, with many open connections", ("open",))):
        if key in results:
            text += load_table(results[key], "cpu_us", "cpu_ratio", title, 1, extra)
    if "workers" in results:
        text += load_table(results["workers"], "rps", "rps_ratio", "Requests a second, by workers", 0,
                           ("workers",))
    for key, part in (("latency", latency_tables), ("counts", counts_tables), ("bulk", bulk_table),
                      ("memory", memory_table), ("start", start_table), ("renewal", renewal_text)):
        if key in results:
            text += part(results[key])
    return text.rstrip() + "\n"


def told(runs):
    """What the figures of a report are."""
    if runs == 1:
        return "In brackets: the median of the ratios to nginx, round by round."
    return (f"Each figure is the median of {runs} whole runs. In brackets: the ratio to nginx, the median round by "
            "round, lowest and highest of the runs.")


def svg(results, runs=1):
    """Bars: CPU time a request, for each kind of request and number of connections."""
    rows = results["cpu"]
    names = names_of(rows[0]["cpu_us"])
    bar, gap, left, width, top = 15, 16, 130, 760, 56
    height = top + len(rows) * (bar * len(names) + gap) + 34
    most = max(v for row in rows for v in row["cpu_us"].values())
    scale = (width - left - 130) / most
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
           f'height="{height}" font-family="system-ui, sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
           '<text x="10" y="20" font-size="15" font-weight="bold">CPU time a request, one worker, '
           'TLS to the origin (µs, less is better)</text>']
    x = 10
    for name in names:
        out.append(f'<rect x="{x}" y="32" width="11" height="11" fill="{COLOURS[name]}"/>'
                   f'<text x="{x + 16}" y="42">{label(name)}</text>')
        x += 36 + 7 * len(label(name))
    y = top + 6
    for row in rows:
        middle = y + bar * len(names) / 2
        out.append(f'<text x="10" y="{middle:.0f}">{row["kind"]}</text>'
                   f'<text x="10" y="{middle + 15:.0f}" fill="#666666">{row["connections"]} conn.</text>')
        for name in names:
            value = row["cpu_us"][name]
            ratio = row["cpu_ratio"].get(name)
            note = f"{value:.1f}" + (f" ({ratio_text(ratio)})" if ratio and name != "nginx" else "")
            out.append(f'<rect x="{left}" y="{y}" width="{value * scale:.1f}" height="{bar - 3}" '
                       f'fill="{COLOURS[name]}"/><text x="{left + value * scale + 5:.1f}" y="{y + 10}" '
                       f'font-size="11">{note}</text>')
            y += bar
        y += gap
    out.append(f'<text x="10" y="{height - 10}" fill="#666666">{told(runs)}</text></svg>')
    return "\n".join(out) + "\n"
