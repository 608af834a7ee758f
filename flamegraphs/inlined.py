#!/usr/bin/env python3
"""inlined.py BINARY: `perf script` in, the same with the frames of inlined functions out.

Our hot loops are inlined into one another: without this a picture of them is a single box. perf itself expands them
only where it was built with libbfd, which distributions may not do. Needs addr2line (binutils) and line tables.
"""
import os
import re
import subprocess
import sys

SOURCES = os.path.realpath(os.path.join(os.path.dirname(__file__), "../src")) + "/"
FRAME = re.compile(r"^\s+([0-9a-f]+) (.+) \((.+)\)$")


def shift(binary):
    """What separates places in the file, which perf prints, from the addresses that the line tables speak of."""
    headers = subprocess.run(["readelf", "-lW", binary], capture_output=True, text=True, check=True).stdout
    code = next(line.split() for line in headers.splitlines() if line.split()[:1] == ["LOAD"] and " E " in line)
    return int(code[2], 16) - int(code[1], 16)


def inlined(binary, places):
    """Maps places in the code to their functions' labels, innermost first."""
    offset = shift(binary)
    asked = "\n".join(f"{place + offset:#x}" for place in places)
    command = ["addr2line", "--addresses", "--functions", "--inlines", "--demangle", f"--exe={binary}"]
    answer = subprocess.run(command, input=asked, capture_output=True, text=True, check=True).stdout
    functions = {}
    current = []
    lines = iter(answer.splitlines())
    for line in lines:
        if line.startswith("0x"):
            current = functions.setdefault(int(line, 16) - offset, [])
        else:
            current.append((line, next(lines)))
    return {place: labels(stack) for place, stack in functions.items()}


def labels(stack):
    """What to write for the functions at one place: of those inlined only our own, with their file."""
    written = []
    for name, source in stack:
        name = re.sub(r"<.*>", "", re.sub(r"\{(impl|async_fn|async_block)#\d+\}(::)?", "", name)).strip(":")
        ours = source.startswith(SOURCES) and source[len(SOURCES):].split(".rs:")[0]
        if ours and name:
            written.append(f"{ours}: {name.split('::')[-1]}")
    # The last is what the linker knows; without it the caller would seem to be somebody else.
    return written or [stack[-1][0]] if stack[-1][0] != "??" else []


def main():
    binary = os.path.realpath(sys.argv[1])
    # A caller's address is the one it returns to, which may be the next function's already.
    wanted = []
    is_leaf = True
    for line in sys.stdin.read().splitlines():
        frame = FRAME.match(line)
        ours = frame and os.path.realpath(frame[3]) == binary
        wanted.append((line, int(frame[1], 16) - (not is_leaf) if ours else None))
        is_leaf = frame is None
    functions = inlined(binary, sorted({place for _, place in wanted if place is not None}))
    for line, place in wanted:
        names = functions.get(place, [])
        for name in names:
            print(f"\t{place:16x} {name} ({binary})")
        if not names:
            print(line)


main()
