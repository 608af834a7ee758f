"""Makes the stages of the Dockerfile by hand, without a container engine, and runs what comes of them.

    tests/image.py BINARY    takes this binary in place of the one that the build stage would compile
    tests/image.py           compiles it, as the image does

The commands are those of the Dockerfile. Folders stand for the stages. The last one gets the libraries of its base
image from this machine, is read-only and has a network of its own, and its user is the image's. It needs root, or a
kernel that lets users make namespaces.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The command that compiles, as it stands in the Dockerfile, and what it makes.
COMPILE = "cargo build --locked --profile dist --bin throng"
COMPILED = "target/dist/throng"
# What the base image of the last stage has.
LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1"}

# Runs inside the image: the server, the health check as the image declares it, and the end.
INSIDE = """
set -eu
ip link set lo up
mount --bind "$image" "$image"
mount --bind "$data" "$image/var/lib/throng"
mount --rbind /proc "$image/proc"
mount -o remount,bind,ro "$image"
$run $entrypoint &
server=$!
trap 'kill -KILL $server 2>/dev/null || true' EXIT
tries=0
until $run $check 2>/dev/null; do
  tries=$((tries + 1))
  [ $tries -lt 200 ] || { $run $check; exit 1; }
  sleep 0.05
done
grep '^Uid:' /proc/$server/status
kill -TERM $server
wait $server
trap - EXIT
! $run $check 2>/dev/null
"""


def instructions(text):
    """Yields each instruction as its word, its flags and the rest."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(str.strip, text.splitlines()):
        word, rest = line.strip().split(None, 1)
        flags = {}
        while rest.startswith("--"):
            flag, rest = rest.split(None, 1)
            name, _, value = flag[2:].partition("=")
            flags[name] = value
        yield word.upper(), flags, rest.strip()


def stages(text):
    """Returns the stages, each with its name and its instructions."""
    found = []
    for word, flags, rest in instructions(text):
        if word == "FROM":
            image, *alias = re.split(r"\s+AS\s+", rest, flags=re.IGNORECASE)
            found.append({"base": image, "name": alias[0] if alias else None, "steps": []})
        elif found:
            found[-1]["steps"].append((word, flags, rest))
    return found


def is_sent(path, rules):
    """Returns whether .dockerignore lets the build have a file. The last rule that fits decides."""
    sent = True
    for rule in rules:
        pattern = rule.removeprefix("!").strip("/")
        parts = path.split("/")
        heads = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        if pattern.startswith("**/"):
            fits = pattern[3:] in parts
        elif pattern == "*":
            fits = True
        else:
            assert not set("*?[") & set(pattern), f"this test does not know the pattern {rule}"
            fits = pattern in heads
        if fits:
            sent = rule.startswith("!")
    return sent


def context(folder):
    """Copies the files that the build gets: those of a fresh clone, less those that are ignored."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    paths = [path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file() and is_sent(path, rules)]
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / path)
    print(f"-- the build gets {len(paths)} files")


def copy(source, target, owner):
    """Copies a file or folder to a place in the stage, and gives it its owner where that is possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)
    if owner and os.getuid() == 0:
        uid, gid = map(int, owner.split(":"))
        os.chown(target, uid, gid)


def build(stage, folder, sent, binary):
    """Makes the stage that compiles."""
    place = folder
    for word, flags, rest in stage["steps"]:
        if word == "WORKDIR":
            place = folder / rest.strip("/")
            place.mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            assert rest == ". .", f"this test does not know COPY {rest}"
            shutil.copytree(sent, place, dirs_exist_ok=True)
        elif word == "RUN":
            assert COMPILE in rest and set(flags) <= {"mount"}, rest
            # The lock file is right, and every target of the manifest is among the files that were sent.
            offline = ["cargo", "metadata", "--locked", "--offline", "--format-version", "1"]
            subprocess.run(offline, cwd=place, check=True, stdout=subprocess.DEVNULL)
            command = rest.replace("/out", shlex.quote(str(folder / "out")))
            if binary:
                instead = f"mkdir -p {Path(COMPILED).parent} && strip -o {COMPILED} {shlex.quote(str(binary))}"
                command = command.replace(COMPILE, instead)
            print(f"-- RUN {rest}")
            environment = {**os.environ, "CARGO_TARGET_DIR": str(place / "target")}
            subprocess.run(["sh", "-ec", command], cwd=place, check=True, env=environment)
        else:
            assert word == "ARG", f"this test does not know {word}"


def last(stage, folder, others):
    """Makes the last stage; returns its settings."""
    settings = {"ENV": {}}
    for word, flags, rest in stage["steps"]:
        if word == "COPY":
            source, target = rest.split()
            copy(others[flags["from"]] / source.strip("/"), folder / target.strip("/"), flags.get("chown"))
        elif word == "ENV":
            name, _, value = rest.partition("=")
            settings["ENV"][name] = value
        elif word == "HEALTHCHECK":
            settings[word] = json.loads(rest.removeprefix("CMD").strip())
        elif word == "ENTRYPOINT":
            settings[word] = json.loads(rest)
        else:
            assert word in ("USER", "EXPOSE"), f"this test does not know {word}"
            settings[word] = rest
    return settings


def add_libraries(folder, program):
    """Adds what the base image has and the program needs, and nothing else."""
    listed = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    print(f"-- the program needs\n{listed.rstrip()}")
    for line in listed.splitlines():
        words = line.split()
        path = next((Path(word) for word in words if word.startswith("/")), None)
        if path is None:
            assert words[0].startswith("linux-vdso"), line
            continue
        assert words[0] in LIBRARIES or path.name.startswith("ld-linux"), f"the base image has no {words[0]}"
        copy(path.resolve(), folder / str(path).lstrip("/"), None)


def run(folder, settings, data):
    """Runs the server of the image and its health check, as the image's user."""
    is_root = os.getuid() == 0
    uid, gid = settings["USER"].split(":")
    assert int(uid) > 0 and int(gid) > 0, "the user of the image is root"
    if is_root:
        os.chown(data, int(uid), int(gid))
    (folder / "proc").mkdir()
    names = [f"{name}={value}" for name, value in settings["ENV"].items()]
    user = [f"--userspec={uid}:{gid}"] if is_root else []
    into = ["env", "-i", *names, shutil.which("chroot"), *user, str(folder)]
    environment = {
        **os.environ,
        "image": str(folder),
        "data": str(data),
        "run": " ".join(into),
        "entrypoint": " ".join([*settings["ENTRYPOINT"], "--set", "history.dir=/var/lib/throng/history"]),
        "check": " ".join(settings["HEALTHCHECK"]),
    }
    namespaces = ["--mount", "--net"] if is_root else ["--user", "--map-root-user", "--mount", "--net"]
    command = ["unshare", *namespaces, "sh", "-c", INSIDE]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0, f"the image does not work: {done.stdout}"
    uids = done.stdout.split()[1:5]
    assert not is_root or uids == [uid] * 4, f"the server runs as {uids}"
    assert (data / "history").is_dir(), "the history is not in the volume"


def main():
    binary = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    builder, final = stages((ROOT / "Dockerfile").read_text())
    rust = re.search(r'^rust-version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert builder["base"].startswith(f"rust:{rust}-"), f"{builder['base']} is not Rust {rust}"
    assert "distroless" in final["base"] and final["base"].endswith(":nonroot"), final["base"]
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)
        sent, made, image, data = (Path(scratch) / name for name in ("sent", "made", "image", "data"))
        for folder in (sent, made, image, data):
            folder.mkdir()
        context(sent)
        build(builder, made, sent, binary)
        settings = last(final, image, {builder["name"]: made})
        add_libraries(image, image / "usr/bin/throng")
        run(image, settings, data)
        size = (image / "usr/bin/throng").stat().st_size / 2**20
        print(f"image: ok, the binary has {size:.1f} MiB, the server runs as {settings['USER']} and is healthy")


main()
