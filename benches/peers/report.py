"""Writes the figures of `run.py` as a table into docs/comparison.md, and as a picture beside it."""
import json, os, platform, re, shlex, subprocess, textwrap, time
from xml.sax.saxutils import escape

NAMES = {"throng": "throng", "gorilla": "Go, gorilla/websocket", "ws": "Node, ws", "socketio": "Node, Socket.IO",
         "fastapi": "Python, FastAPI"}
BEGIN, END = "<!-- Written by benches/peers/run.py --write -->", "<!-- The end of what it writes -->"
# The panels of the picture: the key of a figure, its title, and whether more is better.
PANELS = [("deliveries", "deliveries per second, as many as it can", True),
          ("paced_cpu", "CPU time per delivery at a fixed rate, µs", False),
          ("memory", "memory per idle connection, KiB", False)]
BAR, LEFT, WIDTH, PANEL = 20, 190, 400, 26 # pixels: a bar with its space, where bars begin, the longest, a title

def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

def versions(a, python):
    """Returns for each server what it consists of."""
    found = {}
    for peer in a.peers:
        if peer == "throng":
            found[peer] = said(str(a.server), "--version").splitlines()[0].removeprefix("throng ")
        elif peer == "gorilla":
            package = said("dpkg-query", "-W", "-f", "${Version}", "golang-github-gorilla-websocket-dev")
            found[peer] = f"{package.split('-')[0]}, {said('go', 'version').split()[2].replace('go', 'Go ')}"
        elif peer == "fastapi":
            names = ("fastapi", "uvicorn", "websockets", "uvloop")
            script = f"from importlib.metadata import version as v; print(*map(v, {names}))"
            parts = said(python, "-c", script).split()
            found[peer] = ", ".join([parts[0], *(f"{name} {part}" for name, part in zip(names[1:], parts[1:]))])
            found[peer] += f", Python {said(python, '--version').split()[1]}"
        else:
            package = a.packages / "node_modules" / peer.replace("socketio", "socket.io") / "package.json"
            found[peer] = f"{json.loads(package.read_text())['version']}, Node {said('node', '--version')[1:]}"
    return found

def machine():
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    return f"{os.cpu_count()} cores of {model[1] if model else platform.machine()}, Linux {platform.release()}"

def significant(value, digits=3):
    """Writes a number with three significant digits, as far as it has them before the point."""
    if value >= 10 ** digits:
        rounded = round(value, digits - len(str(int(value))))
        return f"{rounded:,.0f}"
    return f"{value:.{max(digits - len(str(int(value))), 0)}f}"

def table(figures, parts, a):
    """Returns the table and where it comes from, in Markdown."""
    heads = ["", "deliveries per second", "CPU per delivery then", f"CPU per delivery at {a.rate:g} messages/s", "p50",
             "p99", "memory per idle connection", "bytes of a delivery"]
    rows = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for peer, it in figures.items():
        rows.append(f"| {NAMES[peer]} {parts[peer]} | {significant(it['deliveries'])} | {significant(it['cpu'])} µs | "
                    f"{significant(it['paced_cpu'])} µs | {significant(it['p50'])} ms | {significant(it['p99'])} ms | "
                    f"{significant(it['memory'])} KiB | {it['bytes']:.0f} |")
    options = shlex.join(["--rounds", str(a.rounds), "--seconds", f"{a.seconds:g}", "--connections", str(a.connections),
                          "--idle", str(a.idle), "--rate", f"{a.rate:g}", *(["--realtime"] if a.realtime else [])])
    source = (f"Measured on {time.strftime('%-d %B %Y', time.gmtime())}: {machine()}. Medians of {a.rounds} rounds of "
              f"{a.seconds:g} seconds, with {a.connections:,} connections in one room, {a.idle:,} for the memory, and "
              "texts of 100 characters. The command:")
    rows += ["", textwrap.fill(source, 120), "", "```sh", f"benches/peers/run.py {options} --write", "```"]
    return "\n".join(rows)

def picture(figures):
    """Returns bars for the figures that say most, as SVG on a background of its own."""
    y, parts = 12, []
    for key, title, more in PANELS:
        largest = max(it[key] for it in figures.values())
        better = "more" if more else "less"
        parts.append(f'<text class="t" x="16" y="{y + 14}">{escape(title)} ({better} is better)</text>')
        y += PANEL
        for peer, it in figures.items():
            width = max(WIDTH * it[key] / largest, 1)
            kind = "own" if peer == "throng" else "bar"
            parts.append(f'<text x="16" y="{y + 12}">{escape(NAMES[peer])}</text>'
                         f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 5}"/>'
                         f'<text x="{LEFT + width + 6:.1f}" y="{y + 12}">{significant(it[key])}</text>')
            y += BAR
        y += 12
    size = (LEFT + WIDTH + 90, y)
    style = ("text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600}.card{fill:#fff;stroke:#d0d7de}"
             ".bar{fill:#8c959f}.own{fill:#1f6feb}@media(prefers-color-scheme:dark){text{fill:#e6edf3}"
             ".card{fill:#0d1117;stroke:#3d444d}.bar{fill:#6e7681}.own{fill:#4493f8}}")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
            f'viewBox="0 0 {size[0]} {size[1]}">'
            f'<title>throng beside chat rooms on other libraries</title><style>{style}</style>'
            f'<rect class="card" x=".5" y=".5" width="{size[0] - 1}" height="{size[1] - 1}" rx="8"/>\n'
            + "\n".join(parts) + "\n</svg>\n")

def write(root, figures, parts, a):
    """Replaces the part of the page between its two marks, and the picture."""
    page = root / "docs/comparison.md"
    before, found, rest = page.read_text().partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise SystemExit(f"{page}: must have the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{table(figures, parts, a)}\n\n{END}{after}")
    (root / "docs/pictures/comparison.svg").write_text(picture(figures))
    print(f"{page} is written")
