#!/usr/bin/env python3
"""Records the picture of the README: two terminals, one with `throng demo`, one with `throng chat`.

    docs/pictures/record.py [--server target/release/throng] [FILE.svg]

Everything in it happens: a shell and the binary run in pseudo-terminals, keys are pressed one by one, and the server is
killed while somebody writes. Waits are for what appears, not for a time. Only in the picture a pause is at most as long
as LONGEST_PAUSE, and what the people of the demo say between the steps may vary. Needs Linux, a free port 8080, and
nothing beside Python's own library.
"""
import argparse, codecs, fcntl, os, pty, select, shutil, signal, socket, struct, sys, tempfile, termios, time
from pathlib import Path

sys.dont_write_bytecode = True
import svg
from screen import Screen

ROOT = Path(__file__).resolve().parents[2]
COLUMNS, SERVER_ROWS, CHAT_ROWS = 92, 5, 15
KEY_PAUSE, READING = 0.055, 1.3 # seconds between two keys, and to read what has come
LONGEST_PAUSE, LAST_PAUSE = 1.2, 3.5 # seconds without a change, in the picture and at its end
FRAME = 0.1 # changes that are nearer to each other are shown together
PATIENCE = 30 # longest wait for a text to appear
MAX_BYTES = 60_000
DESCRIPTION = ("A recording of two terminals. In the first a server is started with throng demo. In the second "
               "somebody enters with throng chat, reads what the others say, and writes. The server is killed and "
               "started again, and the message that was written meanwhile arrives.")

class Pane:
    """A shell in a pseudo-terminal, the screen that it writes to, and what that showed when."""

    def __init__(self, title, rows, environment):
        self.title, self.screen, self.frames = title, Screen(COLUMNS, rows), []
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.chdir(environment["HOME"])
            os.execve("/bin/sh", ["sh"], environment)
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, COLUMNS, 0, 0))

    def read(self):
        try:
            data = os.read(self.file, 65536)
        except OSError: # the end of the shell
            data = b""
        self.screen.feed(self.decoder.decode(data))
        return bool(data)

class Session:
    """All panes, and the clock of the recording."""

    def __init__(self, panes):
        self.panes, self.typing, self.start = panes, panes[0], time.monotonic()
        self.keep()

    def keep(self):
        """Keeps what the panes show now, if it differs from the last time. The cursor is where the keys go."""
        at = time.monotonic() - self.start
        for pane in self.panes:
            rows = [list(row) for row in pane.screen.cells]
            if pane is self.typing and pane.screen.x < COLUMNS:
                char, look = rows[pane.screen.y][pane.screen.x]
                rows[pane.screen.y][pane.screen.x] = (char, (*look[:3], True))
            if not pane.frames or pane.frames[-1][1] != rows:
                pane.frames.append((at, rows))

    def wait(self, seconds, is_done=lambda: False):
        """Lets time pass, until something is so. Returns whether it is."""
        end = time.monotonic() + seconds
        while not is_done() and (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([pane.file for pane in self.panes], [], [], min(left, FRAME / 4))
            for pane in self.panes:
                if pane.file in ready and not pane.read():
                    raise SystemExit(f"the shell of {pane.title!r} has ended")
            self.keep()
        return is_done()

    def until(self, pane, text):
        if not self.wait(PATIENCE, lambda: text in pane.screen.text()):
            raise SystemExit(f"no {text!r} on the screen of {pane.title!r}:\n{pane.screen.text()}")

    def type(self, pane, line):
        self.typing = pane
        for key in [*line, "\r"]:
            os.write(pane.file, key.encode())
            self.wait(KEY_PAUSE)

def story(session, server, chat, folder):
    """Plays what the picture shows."""
    demo = "throng demo --set history.dir=history --pace 2s"
    session.until(server, "$")
    session.wait(0.6)
    session.type(server, demo)
    session.until(server, "in a browser")
    session.wait(READING)
    session.type(chat, "throng chat --user you")
    session.until(chat, "connected as you")
    session.until(chat, "Did the tests pass?")
    session.type(chat, "They pass here, too.")
    session.until(chat, "nobody knows why")
    session.until(chat, "you: open this page")
    session.wait(READING)
    [process] = processes(folder, b"demo")
    os.kill(process, signal.SIGKILL)
    session.until(server, "Killed")
    session.until(chat, "reconnecting")
    session.wait(0.5)
    session.type(chat, "Is this lost now?")
    session.wait(READING)
    session.type(server, demo)
    session.until(chat, "connected as you")
    session.typing = chat
    session.wait(3 * READING)

def processes(folder, command=b""):
    """Returns the ids of the processes that run in a folder, of a command or of all."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(folder):
                words = (process / "cmdline").read_bytes().split(b"\0")
                found += [int(process.name)] * (not command or command in words)
        except OSError: # it has ended, or belongs to somebody else
            continue
    return found

def paced(panes):
    """Shortens long pauses and joins changes that are close, in all panes alike. Returns the length in seconds."""
    times = sorted({at for pane in panes for at, _ in pane.frames})
    new, last, now = {}, times[0], 0.0
    for at in times:
        now += min(at - last, LONGEST_PAUSE)
        last, new[at] = at, round(now / FRAME) * FRAME
    for pane in panes:
        frames = {new[at]: rows for at, rows in pane.frames} # of equal times the last one stays
        pane.frames = sorted(frames.items())
    return now + LAST_PAUSE

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", type=Path, default=ROOT / "target/release/throng", help="the binary")
    parser.add_argument("file", type=Path, nargs="?", default=ROOT / "docs/pictures/terminal.svg")
    a = parser.parse_args()
    binary = a.server.resolve()
    if not os.access(binary, os.X_OK):
        parser.error(f"{a.server} is not there: cargo build --release")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8080))
        except OSError as error:
            raise SystemExit(f"the recording needs port 8080: {error.strerror}") from error
    folder = Path(tempfile.mkdtemp(prefix="throng-picture-"))
    (folder / "bin").mkdir()
    (folder / "bin/throng").symlink_to(binary)
    environment = {"HOME": str(folder), "PATH": f"{folder}/bin:/usr/bin:/bin", "PS1": "$ ", "TERM": "xterm-256color",
                   "LANG": "C.UTF-8", "TZ": "UTC", "THRONG_LOG__LEVEL": "warn"}
    panes = [Pane("a server", SERVER_ROWS, environment), Pane("a member", CHAT_ROWS, environment)]
    try:
        session = Session(panes)
        story(session, *panes, folder)
    finally:
        for process in processes(folder):
            os.kill(process, signal.SIGKILL)
        for pane in panes:
            os.waitpid(pane.pid, 0)
        shutil.rmtree(folder)
    seconds = paced(panes)
    picture = svg.write([(pane.title, (COLUMNS, pane.screen.rows), pane.frames) for pane in panes], seconds,
                        seconds - LAST_PAUSE / 2, DESCRIPTION)
    if len(picture.encode()) > MAX_BYTES:
        raise SystemExit(f"{len(picture.encode())} bytes are too many for the README: at most {MAX_BYTES}")
    a.file.write_text(picture)
    print(f"{a.file}: {seconds:.1f} seconds, {len(picture.encode())} bytes")

if __name__ == "__main__":
    main()
