#!/usr/bin/env bash
# Draws a flame graph of a loaded server: where it spends its CPU time.
#
#   flamegraphs/record.sh SCENARIO [NAME]    writes flamegraphs/NAME.svg (NAME: the scenario's name)
#
# Starts the release server with one worker on a free port, loads it with `throng bench SCENARIO`, samples it with perf
# and renders with inferno. Keep a picture only if it taught something, and write down what in README.md.
#
#   LOAD='command'   another load: bash runs it with $HOST, $PORT and $PID of the server, and ends it after sampling
#   BENCH_ARGS=…     more arguments for `throng bench`
#   SECONDS_LONG=8   seconds to sample, after WARM_S=3 seconds of load
#   KERNEL=full      keep the kernel's frames below each system call; otherwise each call is one box
#   THRONG_…         settings of the server; by default no rate limit and long messages
#
# Needs Linux with perf (Debian: linux-perf) and, unless root, kernel.perf_event_paranoid <= 1. Samples the CPU clock:
# virtual machines have no hardware counters. Unwinds with DWARF, not with frame pointers: the C library has none, so
# that the callers of `send`, which takes most of the time, would be lost. The release build itself is measured.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,17s/^# \{0,1\}//p' "$0"; exit 64; }
scenario=$1
name=${2:-$scenario}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/throng
inferno=$cache/inferno-0.12.8
length=${SECONDS_LONG:-8}
warm=${WARM_S:-3}

command -v perf >/dev/null || { echo "record.sh: perf is missing (Debian: apt-get install linux-perf)" >&2; exit 69; }
[ -x "$inferno/bin/inferno-flamegraph" ] || cargo install inferno --version 0.12.8 --locked --root "$inferno"
CARGO_TARGET_DIR=$target cargo build --release --locked --bin throng --manifest-path "$root/Cargo.toml"
throng=$target/release/throng

work=$(mktemp -d)
server=
load=
# Ends only processes that this script started, by their ids; the load is ended with its whole process group.
finish() {
  [ -z "$load" ] || kill -- "-$load" 2>/dev/null || true
  [ -z "$server" ] || { kill -KILL "$server" && wait "$server"; } 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
ulimit -n "$(ulimit -Hn)"

# Pins a command to a core, if there are at least two: one is for the server, another for the load. Replaces the
# subshell that calls it, so that the id of the subshell is the id of the command.
on_core() {
  local core=$1
  shift
  if [ "$(nproc)" -ge 2 ] && command -v taskset >/dev/null; then exec taskset -c "$core" "$@"; else exec "$@"; fi
}

export THRONG_RATE_LIMIT__ENABLED=${THRONG_RATE_LIMIT__ENABLED:-false}
export THRONG_CHAT__MAX_MESSAGE_CHARS=${THRONG_CHAT__MAX_MESSAGE_CHARS:-5000}
on_core 0 "$throng" serve --listen 127.0.0.1:0 --workers 1 --log-format json >"$work/out" 2>"$work/log" &
server=$!
address=
for _ in $(seq 100); do
  address=$(sed -n 's/.*"address":"\([^"]*\)".*/\1/p' "$work/log" "$work/out" | head -n 1)
  [ -z "$address" ] || break
  kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 70; }
  sleep 0.05
done
[ -n "$address" ] || { echo "record.sh: the log of the server does not say where it listens" >&2; exit 70; }

export HOST=${address%:*} PORT=${address##*:} PID=$server
if [ -z "${LOAD:-}" ]; then
  case $scenario in
    echo) path='/ws?raw' ;;
    *) path='/ws/chat/u{i}?room={r}' ;;
  esac
  LOAD="'$throng' bench '$scenario' --url 'ws://$address$path' --seconds $((warm + length + 2)) --quiet ${BENCH_ARGS:-}"
fi
set -m # a process group of its own for the load
on_core 1 bash -c "$LOAD" >"$work/load" 2>&1 &
load=$!
set +m
sleep "$warm"
kill -0 "$load" 2>/dev/null || { echo "record.sh: the load ended before it was sampled:" >&2; cat "$work/load" >&2; exit 70; }
perf record --quiet -e cpu-clock -F 997 --call-graph dwarf,16384 -p "$server" -o "$work/perf.data" -- sleep "$length"
tail -n 3 "$work/load"

perf script --no-inline -i "$work/perf.data" 2>/dev/null | python3 "$root/flamegraphs/inlined.py" "$throng" |
  "$inferno/bin/inferno-collapse-perf" --kernel >"$work/stacks"
[ -s "$work/stacks" ] || { echo "record.sh: no samples" >&2; exit 70; }
# The entry to the kernel is the same for all calls, and the kernel's own frames cannot be changed here.
if [ "${KERNEL:-}" != full ]; then
  sed -E -i 's/;entry_SYSCALL_64[^;]*_\[k\];.*__x64_sys_([a-z0-9_]+)_\[k\][^ ]* ([0-9]+)$/;\1_[k] \2/' "$work/stacks"
  sed -E -i 's/;(asm_[a-z_]+|entry_[A-Za-z0-9_]+)_\[k\][^ ]* ([0-9]+)$/;(interrupts)_[k] \2/' "$work/stacks"
fi
# Removes the hashes of symbols, and the frames from the start of a thread to its task.
sed -E -i 's/::h[0-9a-f]{16}//g; s/^worker-0;.*;tokio::runtime::task::raw::poll;/worker-0;/' "$work/stacks"
svg=$root/flamegraphs/$name.svg
"$inferno/bin/inferno-flamegraph" --title "$name" --hash --colors rust --minwidth 0.2 "$work/stacks" >"$svg"
[ -z "${STACKS:-}" ] || cp "$work/stacks" "$STACKS"
size=$(stat -c %s "$svg")
[ "$size" -le $((300 * 1024)) ] || { echo "record.sh: $svg is $size bytes; at most 300 KiB is kept here" >&2; exit 65; }
echo "flamegraphs/$name.svg: $size bytes, $(awk '{ n += $NF } END { print n / 1e6 }' "$work/stacks") ms of CPU time"
