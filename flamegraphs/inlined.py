#!/usr/bin/env python3
"""inlined.py BINARY: copies the output of `perf script` and adds the frames of inlined functions.

The hot loops of throng are inlined into one another: a flame graph without these frames shows a single box. perf adds
them itself only if it was built with libbfd, which many distributions leave out. Needs addr2line (binutils) and line
tables.
"""
import os
import re
import subprocess
import sys

SOURCES = os.path.realpath(os.path.join(os.path.dirname(__file__), "../src")) + "/"
FRAME = re.compile(r"^\s+([0-9a-f]+) (.+) \((.+)\)$")


def shift(binary):
    """Returns the difference between the addresses in the line tables and the file offsets that perf prints."""
    headers = subprocess.run(["readelf", "-lW", binary], capture_output=True, text=True, check=True).stdout
    code = next(line.split() for line in headers.splitlines() if line.split()[:1] == ["LOAD"] and " E " in line)
    return int(code[2], 16) - int(code[1], 16)


def inlined(binary, offsets):
    """Maps file offsets in the code to the labels of their functions, innermost first."""
    delta = shift(binary)
    asked = "\n".join(f"{offset + delta:#x}" for offset in offsets)
    command = ["addr2line", "--addresses", "--functions", "--inlines", "--demangle", f"--exe={binary}"]
    answer = subprocess.run(command, input=asked, capture_output=True, text=True, check=True).stdout
    functions = {}
    current = []
    lines = iter(answer.splitlines())
    for line in lines:
        if line.startswith("0x"):
            current = functions.setdefault(int(line, 16) - delta, [])
        else:
            current.append((line, next(lines)))
    return {offset: labels(stack) for offset, stack in functions.items()}


def labels(stack):
    """Returns the labels of the functions at one address: of inlined ones only those of throng, with their file."""
    written = []
    for name, source in stack:
        name = re.sub(r"<.*>", "", re.sub(r"\{(impl|async_fn|async_block)#\d+\}(::)?", "", name)).strip(":")
        ours = source.startswith(SOURCES) and source[len(SOURCES):].split(".rs:")[0]
        if ours and name:
            written.append(f"{ours}: {name.split('::')[-1]}")
    # The last entry is the function that is not inlined. Without it, another function would appear as the caller.
    return written or [stack[-1][0]] if stack[-1][0] != "??" else []


def main():
    binary = os.path.realpath(sys.argv[1])
    # The address of a caller is its return address, which may belong to the next function: look up the byte before.
    wanted = []
    is_leaf = True
    for line in sys.stdin.read().splitlines():
        frame = FRAME.match(line)
        ours = frame and os.path.realpath(frame[3]) == binary
        wanted.append((line, int(frame[1], 16) - (not is_leaf) if ours else None))
        is_leaf = frame is None
    functions = inlined(binary, sorted({offset for _, offset in wanted if offset is not None}))
    for line, offset in wanted:
        names = functions.get(offset, [])
        for name in names:
            print(f"\t{offset:16x} {name} ({binary})")
        if not names:
            print(line)


main()
