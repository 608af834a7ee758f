#!/usr/bin/env python3
"""Compares throng with `floor`, a relay that does as little as possible, and shows which targets are met.

    benches/targets.py [--rounds 7] [--lab ../shared/lab] [--server target/release/throng] [--dialect v1]
                       [--plot FILE.svg] [CELL...]

Needs the lab beside the repository, with its load generator and `floor` built, and two cores: the server runs on the
first, the load on the second. Prints the table of `docs/performance.md` and, with --plot, draws it. Each
cell is measured in as many pairs as there are rounds, and its ratios are their medians; all cells take half an hour. In
`throng.v1` every message has an ack, which `floor` does not send: its frames are longer by as many bytes. The last
cell, `workers`, compares throng with itself and is not drawn.
"""
import argparse, os, re, subprocess, sys

PORTS = (11001, 11002)
# Options for the messages of each dialect. They contain no spaces, at which the lab splits.
DIALECTS = {"plain": '--tmpl {"message":"%s"}',
            "v1": '--header Sec-WebSocket-Protocol:throng.v1 --tmpl {"type":"message","message":"%s"}'}

def throng(a, name, port, workers):
    return (f"{name}::--port {port} --path /ws/chat/u{{i}}?room={{r}} {DIALECTS[a.dialect]}"
            f"::{os.path.abspath(a.server)} serve --listen 127.0.0.1:{port} --workers {workers}")

def beside_floor(a):
    """Returns the pair of `floor` and throng, with messages of equal length."""
    return ["--match", "throng", f"floor::--port {PORTS[0]} --path /?room={{r}}::floor/floor {PORTS[0]}",
            throng(a, "throng", PORTS[1], 1)]

def beside_one_worker(a):
    """Returns the pair of throng with one worker and with two, on both cores together with the load."""
    return ["--servers-core", "0,1", "--load-core", "0,1", throng(a, "one", PORTS[0], 1),
            throng(a, "throng", PORTS[1], 2)]

def saturated(clients, size):
    return (f"{clients:,} clients, {size} B, window 32", f"--conns {clients} --window 32 --size {size}", 1.10, None,
            beside_floor)

CELLS = {f"{clients}x{size}": saturated(clients, size) for clients in (100, 1000, 10000) for size in (20, 100, 1000)}
CELLS["hundred"] = ("100 publishers in a room of 100", "--conns 100 --pubs 100 --window 1 --size 100", 1.10, None,
                    beside_floor)
CELLS["two"] = ("two people writing to each other", "--conns 2 --pubs 2 --window 1 --size 100", 1.10, None,
                beside_floor)
CELLS["rate"] = ("120 messages/s to 1,000 clients", "--conns 1000 --rate 120 --size 100", 1.10, 1.15, beside_floor)
CELLS["rooms"] = ("1,000 rooms of 10, a publisher in each",
                  "--conns 10000 --rooms 1000 --pubs 1000 --window 1 --size 100", 1.10, 1.3, beside_floor)
CELLS["workers"] = ("a message to 10,000, two workers ÷ one", "--conns 10000 --rate 4 --size 100", 1.10, 0.80,
                    beside_one_worker)

def measure(a, load, pair):
    """Returns the median ratios of the second server to the first: CPU time per delivery and p99."""
    os.environ.update(THRONG_RATE_LIMIT__ENABLED="false", THRONG_CHAT__MAX_MESSAGE_CHARS="5000")
    out = subprocess.run(
        [sys.executable, "side.py", "--rounds", str(a.rounds), "--load", f"{load} --secs {a.secs} --settle 500",
         *pair(a)],
        cwd=a.lab, capture_output=True, text=True)
    row = re.search(r"^throng +[\d.]+ .* ([\d.]+) +([\d.]+)$", out.stdout, re.M)
    if out.returncode or not row:
        sys.exit(f"side.py failed:\n{out.stdout}{out.stderr}")
    return float(row[1]), float(row[2])

def plot(rows, path):
    """Draws the ratios of CPU time as bars, each with its target as a line."""
    left, scale, high = 300, 260, 24
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + int(1.7 * scale)}" height="{high * len(rows) + 40}"'
             ' font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>'
             f'<text x="8" y="20" font-weight="bold">CPU time per delivery, throng / floor</text>']
    for index, (name, ratio, target) in enumerate(rows):
        y = 32 + index * high
        color = "#2f855a" if ratio <= target + 0.005 else "#c05621"
        parts.append(f'<text x="8" y="{y + 14}">{name}</text>'
                     f'<rect x="{left}" y="{y}" width="{ratio * scale:.0f}" height="16" fill="{color}"/>'
                     f'<line x1="{left + target * scale:.0f}" x2="{left + target * scale:.0f}" y1="{y - 3}" y2="{y + 19}"'
                     f' stroke="black"/><text x="{left + ratio * scale + 6:.0f}" y="{y + 13}">{ratio:.2f}</text>')
    with open(path, "w") as file:
        file.write("\n".join(parts) + "\n</svg>\n")

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--secs", default="3")
    p.add_argument("--lab", default="../shared/lab")
    p.add_argument("--server", default="target/release/throng")
    p.add_argument("--dialect", choices=DIALECTS, default="plain")
    p.add_argument("--plot")
    p.add_argument("cell", nargs="*", choices=[[], *CELLS], help=", ".join(CELLS))
    a = p.parse_args()
    rows = []
    print("| what | CPU per delivery ÷ `floor` | target | p99 ÷ `floor` | target |\n|---|---|---|---|---|")
    for cell in a.cell or CELLS:
        name, load, cpu_target, p99_target, pair = CELLS[cell]
        cpu, p99 = measure(a, load, pair)
        name += ", throng.v1" if a.dialect == "v1" else ""
        if pair is beside_floor:
            rows.append((name, cpu, cpu_target))
        print(f"| {name} | {cpu:.2f} | {cpu_target:.2f} | {p99:.2f} | {p99_target or ''} |", flush=True)
    if a.plot:
        plot(rows, a.plot)

main()
