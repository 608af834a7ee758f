"""Runs of the load generators for `targets.py`: each starts a server on the first core and loads it from the second.

Functions whose names begin with `pair` measure two servers in turn, round after round, and return medians of ratios. A
run that fails ends the program with the output of what failed.
"""
import json, os, re, signal, statistics, subprocess, sys, tempfile, time

SERVER_CORE, LOAD_CORE = "0", "1"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Settings of a throng that the lab's load generator loads.
FREE = {"THRONG_RATE_LIMIT__ENABLED": "false", "THRONG_CHAT__MAX_MESSAGE_CHARS": "5000"}

def run(command, **more):
    """Runs a command to its end and returns its standard output."""
    out = subprocess.run(command, capture_output=True, text=True, **more)
    if out.returncode:
        sys.exit(f"{' '.join(command)}: exit code {out.returncode}\n{out.stdout}{out.stderr}")
    return out.stdout

class Server:
    """A server on its core, until the end of the `with` block. Its output is in the file `log`."""
    def __init__(self, command, cwd=ROOT):
        self.command, self.cwd = command, cwd

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(["taskset", "-c", SERVER_CORE, *self.command], cwd=self.cwd, stdout=self.log,
                                        stderr=self.log, env={**os.environ, **FREE})
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def said(self, pattern):
        """Waits until the output matches; returns the first group of the match."""
        for _ in range(100):
            # The server writes at the position of the same file, which reading must not move.
            text = os.pread(self.log.fileno(), 1 << 20, 0).decode()
            if found := re.search(pattern, text):
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        sys.exit(f"{' '.join(self.command)}: says nothing like {pattern}\n{text}")

    def cpu_s(self):
        """Returns the CPU time, user and system, that the process has used."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

def medians(rounds, first, second):
    """Runs both in turn, and returns the median ratio of the second's values to the first's, each by its name."""
    pairs = [(first(), second()) for _ in range(rounds)]
    if not all(value > 0 for pair in pairs for run in pair for value in run.values()):
        sys.exit(f"a run has measured nothing: {pairs}")
    return {key: statistics.median(b[key] / a[key] for a, b in pairs) for key in pairs[0][0]}

def pair_in_lab(a, load, servers):
    """Loads two servers by the lab's `side.py`, and returns ratios of the CPU time per delivery and of p99."""
    command = [sys.executable, "side.py", "--rounds", str(a.rounds), "--load", f"{load} --secs {a.secs} --settle 500"]
    out = run([*command, *servers], cwd=a.lab, env={**os.environ, **FREE})
    row = re.search(r"^throng +[\d.]+ .* ([\d.]+) +([\d.]+)$", out, re.M)
    if not row:
        sys.exit(f"side.py shows no ratios:\n{out}")
    return {"cpu": float(row[1]), "p99": float(row[2])}

def pair_of_connects(a, port):
    """Returns the ratio of connects per second, throng to `floor`."""
    count = 500 if a.quick else 15_000
    load = os.environ.get("WSLOAD", os.path.join(a.lab, "wsload/target/release/wsload"))
    def connects(command, path):
        with Server(command, cwd=a.lab) as server:
            time.sleep(1)
            out = run(["taskset", "-c", LOAD_CORE, load, "--port", str(port), "--path", path, "--pubs", "0", "--conns",
                       str(count), "--settle", "100", "--pid", str(server.process.pid)])
        result = json.loads(out.splitlines()[-1])
        if result["open"] != count:
            sys.exit(f"{command[0]}: {result}")
        return {"rate": result["conn_per_s"]}
    throng = [a.server, "serve", "--listen", f"127.0.0.1:{port}", "--workers", "1"]
    return medians(a.rounds, lambda: connects(["floor/floor", str(port)], "/"),
                   lambda: connects(throng, "/ws/chat/u{i}"))

def fanout(a, options):
    """Returns CPU time and bytes per delivery of `throng bench fanout`, which starts the server."""
    out = run(["taskset", "-c", LOAD_CORE, a.server, "bench", "fanout", "--server-prefix", f"taskset -c {SERVER_CORE}",
               "--workers", "1", "--connections", "100" if a.quick else "1000", "--seconds", a.secs, "--quiet",
               "--json", "-", *options])
    result = json.loads(out)
    return {"cpu": result["server"]["cpu_us_each"], "bytes": result["wire_bytes_each"]}

def pair_of_fanouts(a, options, first, second):
    """Returns the ratios of two fan-outs that have more options each."""
    return medians(a.rounds, lambda: fanout(a, [*options, *first]), lambda: fanout(a, [*options, *second]))

def self_signed(folder):
    """Makes a certificate for `localhost`; returns the paths of it and of its key."""
    cert, key = os.path.join(folder, "localhost.crt"), os.path.join(folder, "localhost.key")
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext",
         "basicConstraints=critical,CA:FALSE", "-out", cert, "-keyout", key])
    return cert, key

def pair_of_handshakes(a, cert, key):
    """Returns the ratio of TLS handshakes per second of CPU time, throng to a bare acceptor with the same library."""
    count = 200 if a.quick else 5_000
    ciphers = set()
    def handshakes(command, pattern):
        with Server(command) as server:
            address = server.said(pattern)
            load = ["taskset", "-c", LOAD_CORE, a.acceptor, "load", address, cert]
            # The first ones pay for what is made once.
            run([*load, "50"])
            before = server.cpu_s()
            ciphers.add(run([*load, str(count)]))
            return {"rate": count / max(server.cpu_s() - before, 1 / TICKS_PER_S)}
    throng = [a.server, "serve", "--listen", "127.0.0.1:0", "--workers", "1", "--log-format", "json", "--tls-cert",
              cert, "--tls-key", key]
    ratio = medians(a.rounds, lambda: handshakes([a.acceptor, "accept", cert, key], r"(127\.0\.0\.1:\d+)"),
                    lambda: handshakes(throng, r'"listening","address":"([^"]*)"'))
    if len(ciphers) != 1:
        sys.exit(f"the servers have chosen different ciphers: {ciphers}")
    return ratio

def idle_memory(a):
    """Runs the memory test against the server; returns the bytes per idle connection before and after it has spoken."""
    command = ["cargo", "test", "--locked", "--features", "fault-injection", "--test", "memory", "--", "--nocapture"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True,
                         env={**os.environ, "THRONG_TEST_BINARY": a.server})
    # A bound that is missed fails the test, and is a figure here.
    pattern = r"^bytes per idle connection: (\d+) before it has spoken, (\d+) after, of \d+ \((.*)\)$"
    found = {name: (int(before), int(after)) for before, after, name in re.findall(pattern, out.stdout, re.M)}
    if missing := {"plain", "throng.v1", "plain, compressed", "plain, TLS"} - found.keys():
        sys.exit(f"the memory test shows nothing of {missing}:\n{out.stdout}{out.stderr}")
    return found
