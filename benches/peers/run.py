#!/usr/bin/env python3
"""Measures throng beside chat rooms on other libraries, and writes the figures into docs/comparison.md.

    benches/peers/run.py [--rounds 3] [--seconds 5] [--connections 1000] [--idle 10000] [--rate 20] [--realtime]
                         [--write] [--server target/release/throng] [--packages target/tmp/peers] [PEER...]
    benches/peers/run.py --check

Each server runs on the first core and `throng bench` on the second, one server after the other, round after round. The
load is the same for all. A run that has lost a message or a connection ends the program. `--check` only says what is
missing, and installs nothing either: the servers need these packages, and Node.

    apt-get install golang-go golang-github-gorilla-websocket-dev python3-fastapi python3-uvicorn python3-uvloop \\
      python3-websockets
    npm install --prefix target/tmp/peers ws@8 socket.io@4

`--realtime` gives both sides precedence over everything else on the machine, and needs root: a machine that does
something else meanwhile would be measured too. `--write` changes the page and its picture; without it the figures are
only printed.
"""
import argparse, contextlib, json, os, resource, shutil, signal, socket, statistics, subprocess, sys, tempfile, time
from pathlib import Path

# Nothing of it stays in the repository.
sys.dont_write_bytecode = True
import report

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
SERVER_CORE, LOAD_CORE = "0", "1"
# Debian's packages are for Debian's Python, and PATH may name another one first.
PYTHON = "/usr/bin/python3"
GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
RT_RUNTIME = Path("/proc/sys/kernel/sched_rt_runtime_us")
PATIENCE = 30 # seconds until a server must listen, or has ended
PLAIN = ["--url", "ws://127.0.0.1:{port}/u{i}?room={r}"]
SOCKET_IO = ["--url", "ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket&user=u{i}&room={r}",
             "--protocol", "socketio"]

# Each server: its command and its options of the load. `{port}`, `{packages}` and `{build}` are filled in.
PEERS = {
    "throng": (["{server}", "serve", "--listen", "127.0.0.1:{port}", "--workers", "1", "--set",
                "rate_limit.enabled=false"], ["--url", "ws://127.0.0.1:{port}/ws/chat/u{i}?room={r}"]),
    "gorilla": (["{build}/chat", "{port}"], PLAIN),
    "ws": (["node", str(FOLDER / "ws.mjs"), "{port}"], PLAIN),
    "socketio": (["node", str(FOLDER / "socketio.mjs"), "{port}"], SOCKET_IO),
    "fastapi": ([PYTHON, str(FOLDER / "fastapi_chat.py"), "{port}"], PLAIN),
}

def works(*command, cwd=None):
    """Returns whether a command runs and succeeds."""
    try:
        return subprocess.run(command, cwd=cwd, capture_output=True).returncode == 0
    except OSError:
        return False

def missing(a):
    """Yields what the servers to be measured lack."""
    for peer in a.peers:
        if not (FOLDER / {"gorilla": "chat.go", "fastapi": "fastapi_chat.py"}.get(peer, f"{peer}.mjs")).is_file() \
                and peer != "throng":
            yield f"{peer}: its source is not in {FOLDER}"
    if not os.access(a.server, os.X_OK):
        yield f"{a.server}: cargo build --release"
    if "gorilla" in a.peers and not (shutil.which("go") and Path(GO["GOPATH"], "src/github.com/gorilla").is_dir()):
        yield "gorilla: the Debian packages golang-go and golang-github-gorilla-websocket-dev"
    if "fastapi" in a.peers and not works(PYTHON, "-c", "import fastapi, uvicorn, uvloop, websockets"):
        yield "fastapi: the Debian packages python3-fastapi, python3-uvicorn, python3-uvloop and python3-websockets"
    for peer, name in (("ws", "ws"), ("socketio", "socket.io")):
        if peer in a.peers and not (a.packages / "node_modules" / name).is_dir():
            yield f"{peer}: the npm package {name} in {a.packages}"
        if peer in a.peers and not shutil.which("node"):
            yield f"{peer}: node"

def filled(words, **values):
    """Fills in what is known by now. The numbers of connections and rooms are for the load."""
    for name, value in values.items():
        words = [word.replace(f"{{{name}}}", str(value)) for word in words]
    return words

@contextlib.contextmanager
def running(a, peer):
    """Runs a server on its core; gives its process id and the options of its load."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command, options = PEERS[peer]
    command = filled(command, port=port, server=a.server, build=a.build)
    # Settings in the environment would make one of the servers another one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("THRONG_")}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*a.first, *command], cwd=a.packages if peer in ("ws", "socketio") else None,
                                   env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + PATIENCE
            while not listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{' '.join(command)} does not listen:\n{os.pread(log.fileno(), 4096, 0).decode()}")
                time.sleep(0.05)
            yield process.pid, filled(options, port=port)
        finally:
            process.send_signal(signal.SIGKILL) # how it ends is not measured
            process.wait()

def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

def load(a, peer, scenario, connections, *more):
    """Loads a new server, and returns the result. Ends the program if anything was lost."""
    with running(a, peer) as (pid, options):
        command = [*a.second, str(a.server), "bench", scenario, "--pid", str(pid), "--connections", str(connections),
                   "--size", "100", "--quiet", "--json", "-", *options, *more]
        out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"{' '.join(command)}: exit code {out.returncode}\n{out.stdout[:4000]}{out.stderr}")
    result = json.loads(out.stdout)
    run, opened = result.get("whole_run", {}), result["handshakes"]["open_at_end"]
    if any(run.get(key) for key in ("missing", "surplus", "closed", "malformed", "unsent")) or opened != connections:
        sys.exit(f"{peer}, {scenario}: not complete: {run}, {opened} of {connections} connections")
    return result

def measured(a, peer):
    """Returns the figures of one round."""
    seconds = ["--seconds", str(a.seconds), "--drain", "30"]
    full = load(a, peer, "fanout", a.connections, "--in-flight", "32", *seconds)
    paced = load(a, peer, "fanout", a.connections, "--rate", str(a.rate), *seconds)
    idle = load(a, peer, "idle", a.idle, "--hold", "2")
    return {"deliveries": full["deliveries_per_s"], "bytes": full["wire_bytes_each"],
            "cpu": full["server"]["cpu_us_each"], "paced_cpu": paced["server"]["cpu_us_each"],
            "p50": paced["latency_us"]["p50"] / 1000, "p99": paced["latency_us"]["p99"] / 1000,
            "memory": idle["server"]["kib_per_connection"]}

@contextlib.contextmanager
def precedence(a):
    """Lets both sides take all the time of their cores, until the end of the block."""
    a.first, a.second = ["taskset", "-c", SERVER_CORE], ["taskset", "-c", LOAD_CORE]
    if not a.realtime:
        yield
        return
    before = RT_RUNTIME.read_text()
    # By turns, or the threads of one server could keep each other from their core.
    real_time = ["chrt", "-r", "40"]
    a.first, a.second = [*real_time, *a.first], [*real_time, *a.second]
    RT_RUNTIME.write_text("-1")
    try:
        yield
    finally:
        RT_RUNTIME.write_text(before)

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="length of each measurement")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--idle", type=int, default=10_000, help="connections of the run that measures memory")
    parser.add_argument("--rate", type=float, default=20, help="messages per second that all servers can carry")
    parser.add_argument("--server", type=Path, default=ROOT / "target/release/throng")
    parser.add_argument("--packages", type=Path, default=ROOT / "target/tmp/peers", help="where npm has installed")
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true", help="only say what is missing")
    parser.add_argument("peers", nargs="*", metavar="PEER", help=", ".join(PEERS))
    a = parser.parse_args()
    if unknown := set(a.peers) - PEERS.keys():
        parser.error(f"{', '.join(unknown)}: there are only {', '.join(PEERS)}")
    if a.write and a.peers:
        parser.error("the page has all servers: name none with --write")
    a.peers = a.peers or list(PEERS)
    a.server, a.packages = a.server.resolve(), a.packages.resolve()
    lacks = list(missing(a))
    print("\n".join(f"missing: {what}" for what in lacks) or "nothing is missing")
    if a.check or lacks:
        sys.exit(69 if lacks else 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)) # so that what was changed is changed back
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with tempfile.TemporaryDirectory() as a.build, precedence(a):
        if "gorilla" in a.peers:
            subprocess.run(["go", "build", "-o", f"{a.build}/chat", str(FOLDER / "chat.go")], check=True,
                           env={**os.environ, **GO})
        rounds = {peer: [] for peer in a.peers}
        for number in range(a.rounds):
            for peer in a.peers:
                rounds[peer].append(measured(a, peer))
                print(f"{number + 1} {peer}: {rounds[peer][-1]}", flush=True)
    figures = {peer: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
               for peer, runs in rounds.items()}
    versions = report.versions(a, PYTHON)
    if a.write:
        report.write(ROOT, figures, versions, a)
    else:
        print(report.table(figures, versions, a))

if __name__ == "__main__":
    main()
