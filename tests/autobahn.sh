#!/usr/bin/env bash
# The RFC 6455 conformance suite against the echo endpoint. Usage: tests/autobahn.sh SERVER_BINARY [OUTDIR]
#
# It runs three times: the cases of RFC 6455 against a server as it is by default, the same over TLS, and those of RFC 7692
# (permessage-deflate) against one with compression. Of the latter every kind of message and offer is tried in a third of the lengths, because
# all of them take half an hour; THRONG_LONG=1 runs all.
#
# The suite is not part of this repository: the script looks for it in ../shared/lab/autobahn beside the repository, or
# in the folder THRONG_AUTOBAHN. Exit: 0 all cases passed, 1 some did not, 2 the suite could not be run, 77 there is no
# suite. Twisted is installed once, into a cache folder outside the repository (WSTEST=path uses an existing one).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -ge 1 ] || { sed -n 2p "${BASH_SOURCE[0]}"; exit 64; }
server=$(realpath "$1")
out=${2:-$root/target/autobahn}
suite=${THRONG_AUTOBAHN:-$root/../shared/lab/autobahn}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/throng-autobahn

fail() { echo "autobahn: $*" >&2; exit 2; }

[ -f "$suite/run.sh" ] || { echo "autobahn: skipped, there is no suite at $suite"; exit 77; }
mkdir -p "$out"
out=$(cd "$out" && pwd)

# True when `wstest` starts; after an interrupted installation it does not.
works() { PYTHONWARNINGS=ignore "$1" --help >/dev/null 2>&1; }

install_suite() {
  command -v pyenv >/dev/null || { [ -x "$HOME/.pyenv/bin/pyenv" ] && PATH=$HOME/.pyenv/bin:$PATH; } ||
    fail "the suite needs CPython 2.7 through pyenv, and there is no pyenv on this machine"
  PYENV_VERSION=2.7.18 pyenv which python2.7 >/dev/null 2>&1 ||
    fail "the suite needs CPython 2.7.18: pyenv install 2.7.18"
  echo "autobahn: installing into $cache (about a minute, once)"
  rm -rf "$cache/venv27" "$cache/vtool"
  bash "$suite/setup.sh" "$cache" >"$out/setup.log" 2>&1 </dev/null
}

wstest=${WSTEST:-$cache/venv27/bin/wstest}
if ! works "$wstest"; then
  [ -z "${WSTEST:-}" ] || fail "WSTEST=$WSTEST does not start"
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9 # two runs on one machine install it once
  works "$wstest" || install_suite || install_suite || { tail -20 "$out/setup.log" >&2; fail "not installed, see $out/setup.log"; }
  works "$wstest" || fail "installed, but $wstest does not start"
  exec 9>&-
fi

long=${THRONG_LONG:-}
# The variables of the test run are no settings, and a server refuses unknown settings.
unset THRONG_LONG THRONG_AUTOBAHN
pid=
tunnel=

# start_server DIR SETTING…: starts the server on a free port, which its log names, and sets `address`. Limits that the
# suite exceeds on purpose are raised.
start_server() {
  local log=$1/server.log
  : >"$log"
  env "${@:2}" THRONG_RATE_LIMIT__ENABLED=false THRONG_LIMITS__MAX_MESSAGE_BYTES=17MiB \
    THRONG_LIMITS__MAX_FRAGMENTS=100000 \
    "$server" serve --listen 127.0.0.1:0 --log-format json >"$1/server.out" 2>"$log" </dev/null &
  pid=$!
  trap 'stop_server || true' EXIT
  trap 'exit 130' INT TERM
  address=
  for _ in $(seq 100); do
    address=$(grep -m1 '"message":"listening"' "$log" | sed -n 's/.*"address":"\([^"]*\)".*/\1/p' || true)
    [ -z "$address" ] || break
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  [ -n "$address" ] ||
    { tail -20 "$log" >&2; fail "the server ended, or did not log within 10 s that it listens, see $log"; }
}

# Asks the server to drain, and kills it when it does not.
stop_server() {
  trap - EXIT
  [ -z "$tunnel" ] || { kill "$tunnel" && wait "$tunnel" || true; tunnel=; }
  kill -TERM "$pid" 2>/dev/null || true
  for _ in $(seq 150); do
    kill -0 "$pid" 2>/dev/null || { wait "$pid" && return 0 || return 1; }
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  return 1
}
verdict=0

# Starts the tunnel that lets the suite, which speaks no TLS here, use the server, and sets `address` to its own.
start_tunnel() {
  python3 "$root/tests/tunnel.py" "$address" >"$1/tunnel.out" 2>"$1/tunnel.log" </dev/null &
  tunnel=$!
  for _ in $(seq 100); do
    [ -s "$1/tunnel.out" ] && break
    sleep 0.1
  done
  [ -s "$1/tunnel.out" ] || fail "the tunnel did not start, see $1/tunnel.log"
  address=127.0.0.1:$(cat "$1/tunnel.out")
}

# run_cases EXPECTED DIR SETTING… -- PATTERN…: runs cases against a server with these settings. All must pass, and the
# server must end cleanly. With `over_tls` set, between the suite and the server there is TLS.
run_cases() {
  local expected=$1 dir=$2 settings=()
  shift 2
  while [ "$1" != -- ]; do settings+=("$1"); shift; done
  shift
  mkdir -p "$dir"
  start_server "$dir" "${settings[@]}"
  [ -z "${over_tls:-}" ] || start_tunnel "$dir"
  local status=0 alive=true stopped=0
  WSTEST=$wstest AGENT=throng LIMIT=${limit:-} bash "$suite/run.sh" "ws://$address/ws?raw" "$dir" "$@" \
    >"$dir/summary.txt" </dev/null || status=$?
  cat "$dir/summary.txt"
  kill -0 "$pid" 2>/dev/null || alive=false
  stop_server || stopped=1

  complain() { echo "autobahn: $*, see $dir" >&2; verdict=1; }
  [ "$status" = 0 ] || complain "the suite ended with status $status"
  grep -q "^$expected passed, 0 failed ([^)]*)  " "$dir/summary.txt" || complain "wanted $expected passed, 0 failed"
  # The suite accepts a closed TCP connection where the server has to fail the connection, but a client must get a code.
  grep -q '^ended without a valid close frame from the server .*: 0$' "$dir/summary.txt" ||
    complain "every connection must end with a close frame"
  $alive || complain "the server died during the run"
  [ "$stopped" = 0 ] || complain "the server did not end cleanly within 15 s of SIGTERM"
}

# Cases 1 to 7, 9 and 10.
run_cases 301 "$out" --

# The same over TLS.
mkdir -p "$out/tls"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout "$out/tls/key.pem" -out "$out/tls/cert.pem" 2>"$out/tls/openssl.log" ||
  fail "openssl made no certificate, see $out/tls/openssl.log"
over_tls=1 run_cases 301 "$out/tls" THRONG_TLS__CERT_FILE="$out/tls/cert.pem" THRONG_TLS__KEY_FILE="$out/tls/key.pem" --

# Cases 12 send five kinds of data in 18 lengths and ways to cut them, and cases 13 make seven kinds of offers.
if [ "$long" = 1 ]; then
  limit=3600 run_cases 216 "$out/deflate" THRONG_COMPRESSION__ENABLED=true -- '12.*' '13.*'
else
  cases=()
  for kind in 12.{1..5} 13.{1..7}; do cases+=("$kind".{1,3,5,6,8,11}); done
  limit=900 run_cases 72 "$out/deflate" THRONG_COMPRESSION__ENABLED=true -- "${cases[@]}"
fi
exit "$verdict"
