#!/usr/bin/env python3
"""Measures throng beside its targets, and prints each of them: target, measured, ok or missed.

    benches/targets.py [--rounds 7] [--quick] [--lab ../shared/lab] [--server target/release/throng]
                       [--acceptor target/release/examples/tls_handshakes] [--dialect v1] [--plot FILE.svg] [ROW...]

Needs two cores, which do nothing else: the server runs on the first, the load on the second. Needs also `openssl`, the
lab beside the repository, with its load generator and `floor` built, and release builds of this repository:

    cargo build --release && cargo build --release --package throng-bench --example tls_handshakes

The rows that are named are measured, or all of them, which takes an hour and a half. Each is measured in as many pairs
as there are rounds, one server after the other, and its ratio is their median. `floor` is a relay that does as little
as possible. Rows about TLS and compression compare throng with itself, by `throng bench`. `--quick` takes a few minutes
and shows that everything works; its figures mean nothing, and `memory` is left out unless it is named.

In `throng.v1` every message has an ack, which `floor` does not send: its frames are longer by as many bytes. With
`--dialect v1` only the rows of the lab are measured. `--plot` draws the CPU time of those beside `floor`.
"""
import argparse, os, resource, sys, tempfile

# Nothing of it stays in the repository.
sys.dont_write_bytecode = True
import measure

PORTS = (11001, 11002)
# Options for the messages of each dialect. They contain no spaces, at which the lab splits.
DIALECTS = {"plain": '--tmpl {"message":"%s"}',
            "v1": '--header Sec-WebSocket-Protocol:throng.v1 --tmpl {"type":"message","message":"%s"}'}

def throng(a, name, port, workers):
    return (f"{name}::--port {port} --path /ws/chat/u{{i}}?room={{r}} {DIALECTS[a.dialect]}"
            f"::{a.server} serve --listen 127.0.0.1:{port} --workers {workers}")

def beside_floor(a):
    """Returns the pair of `floor` and throng, with messages of equal length."""
    return ["--match", "throng", f"floor::--port {PORTS[0]} --path /?room={{r}}::floor/floor {PORTS[0]}",
            throng(a, "throng", PORTS[1], 1)]

def beside_one_worker(a):
    """Returns the pair of throng with one worker and with two, on both cores together with the load."""
    return ["--servers-core", "0,1", "--load-core", "0,1", throng(a, "one", PORTS[0], 1),
            throng(a, "throng", PORTS[1], 2)]

# Rows that the lab measures: what, load, target of the CPU time, target of p99 or none, servers.
LAB = {f"{clients}x{size}": (f"{clients:,} clients, {size} B, window 32",
                             f"--conns {clients} --window 32 --size {size}", 1.10, None, beside_floor)
       for clients in (100, 1000, 10000) for size in (20, 100, 1000)}
LAB["hundred"] = ("100 publishers in a room of 100", "--conns 100 --pubs 100 --window 1 --size 100", 1.03, None,
                  beside_floor)
LAB["two"] = ("two people writing to each other", "--conns 2 --pubs 2 --window 1 --size 100", 1.04, None, beside_floor)
LAB["rate"] = ("120 messages/s to 1,000 clients", "--conns 1000 --rate 120 --size 100", 1.10, 1.15, beside_floor)
LAB["rooms"] = ("1,000 rooms of 10, a publisher in each",
                "--conns 10000 --rooms 1000 --pubs 1000 --window 1 --size 100", 1.10, 1.3, beside_floor)
LAB["workers"] = ("a message to 10,000, two workers ÷ one", "--conns 10000 --rate 4 --size 100", 1.10, 0.80,
                  beside_one_worker)
# The load of `throng bench` for rows about TLS, and about messages of 300 characters.
WINDOW, RATE = ["--in-flight", "32"], ["--rate", "120"]
LONG = ["--compression", "--size", "300"]

def lab(row):
    """Returns a function that measures a row of the lab, and gives CPU time and p99 if they have targets."""
    def measured(a):
        name, load, cpu_target, p99_target, pair = LAB[row]
        name += ", throng.v1" if a.dialect == "v1" else ""
        ratio = measure.pair_in_lab(a, load, pair(a))
        reference = " ÷ `floor`" if pair is beside_floor else ""
        if pair is beside_floor:
            a.bars.append((name, ratio["cpu"], cpu_target))
        yield f"{name}: CPU per delivery{reference}", "<=", cpu_target, ratio["cpu"]
        if p99_target:
            yield f"{name}: p99{reference}", "<=", p99_target, ratio["p99"]
    return measured

def connects(a):
    yield "connects per second ÷ `floor`", ">=", 0.88, measure.pair_of_connects(a, PORTS[0])["rate"]

def tls(a):
    secure = ["--set", f"tls.cert_file={a.cert}", "--set", f"tls.key_file={a.key}", "--ca", a.cert]
    for name, load, target in (("120 messages/s", RATE, 1.10), ("window 32", WINDOW, 1.25)):
        ratio = measure.pair_of_fanouts(a, load, [], secure)
        yield f"TLS ÷ plain, 1,000 clients, {name}: CPU per delivery", "<=", target, ratio["cpu"]

def handshakes(a):
    ratio = measure.pair_of_handshakes(a, a.cert, a.key)
    yield "TLS handshakes per second of CPU ÷ a bare acceptor", ">=", 0.8, ratio["rate"]

def compression(a):
    off = ["--set", "compression.enabled=false"]
    for name, load in (("window 32", WINDOW), ("120 messages/s", RATE)):
        ratio = measure.pair_of_fanouts(a, [*LONG, *load], off, [])
        what = f"compression ÷ off, 1,000 clients, 300 characters, {name}"
        yield f"{what}: CPU per delivery", "<=", 1.05, ratio["cpu"]
        yield f"{what}: bytes", "<=", 0.65, ratio["bytes"]

def memory(a):
    found = measure.idle_memory(a)
    for name, target in (("plain", 512), ("throng.v1", 614), ("plain, TLS", 4096)):
        yield f"resident bytes per idle connection, {name}", "<=", target, max(found[name])
    # Before they have spoken: afterwards two runs of one server differ by more.
    more = found["plain, compressed"][0] - found["plain"][0]
    yield "the same, bytes more where compression is negotiated", "<=", 16, more

ROWS = {"memory": memory, "connects": connects, **{row: lab(row) for row in LAB}, "tls": tls, "handshakes": handshakes,
        "compression": compression}

def plot(rows, path):
    """Draws the ratios of CPU time as bars, each with its target as a line."""
    left, scale, high = 300, 260, 24
    width, height = left + int(1.7 * scale), high * len(rows) + 40
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
             ' font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>'
             f'<text x="8" y="20" font-weight="bold">CPU time per delivery, throng / floor</text>']
    for index, (name, ratio, target) in enumerate(rows):
        y, line = 32 + index * high, f"{left + target * scale:.0f}"
        color = "#2f855a" if ratio <= target + 0.005 else "#c05621"
        parts.append(f'<text x="8" y="{y + 14}">{name}</text>'
                     f'<rect x="{left}" y="{y}" width="{ratio * scale:.0f}" height="16" fill="{color}"/>'
                     f'<line x1="{line}" x2="{line}" y1="{y - 3}" y2="{y + 19}" stroke="black"/>'
                     f'<text x="{left + ratio * scale + 6:.0f}" y="{y + 13}">{ratio:.2f}</text>')
    with open(path, "w") as file:
        file.write("\n".join(parts) + "\n</svg>\n")

def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, help="pairs of each measurement [default: 7; with --quick: 1]")
    p.add_argument("--secs", help="length of a run [default: 3; with --quick: 1]")
    p.add_argument("--quick", action="store_true", help="show that everything works")
    p.add_argument("--lab", default="../shared/lab")
    p.add_argument("--server", default="target/release/throng")
    p.add_argument("--acceptor", default="target/release/examples/tls_handshakes")
    p.add_argument("--dialect", choices=DIALECTS, default="plain")
    p.add_argument("--plot")
    p.add_argument("row", nargs="*", choices=[[], *ROWS], help=", ".join(ROWS))
    a = p.parse_args()
    a.rounds = a.rounds or (1 if a.quick else 7)
    a.secs = a.secs or ("1" if a.quick else "3")
    for name in ("lab", "server", "acceptor"):
        setattr(a, name, os.path.abspath(getattr(a, name)))
        if not os.path.exists(getattr(a, name)):
            p.error(f"--{name} {getattr(a, name)}: does not exist")
    usual = ROWS if a.dialect == "plain" else LAB
    a.row = a.row or [row for row in usual if not (a.quick and row == "memory")]
    a.bars = []
    return a

def main():
    a = arguments()
    # Servers and loads inherit it.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    missed = 0
    print("| what | target | measured | |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        a.cert, a.key = measure.self_signed(folder)
        for row in a.row:
            for name, sense, target, value in ROWS[row](a):
                # As many digits as are shown count.
                shown = round(value, 2)
                is_ok = shown <= target if sense == "<=" else shown >= target
                missed += not is_ok
                print(f"| {name} | {'≤' if sense == '<=' else '≥'} {target:g} | {shown:g} | "
                      f"{'ok' if is_ok else '**missed**'} |", flush=True)
    if a.plot:
        plot(a.bars, a.plot)
    print(f"\n{missed} missed" if missed else "\nall ok", file=sys.stderr)

main()
