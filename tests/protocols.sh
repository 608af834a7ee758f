#!/usr/bin/env bash
# Tests `throng bench` against small servers of other protocols.
#
#   tests/protocols.sh target/debug/throng
#
# The servers, and the official clients that count beside the load generator, are packages for Node. They are fetched
# with npm into `target/`; where that is not possible, the tests are skipped with a line that says so.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# = 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 64; }
THRONG_BINARY=$(realpath "$1")
export THRONG_BINARY
tools=${CARGO_TARGET_DIR:-$root/target}/tmp/protocols
# Fixed, so that a new release of somebody else breaks nothing here.
packages=(centrifuge@5.8.0 phoenix@1.8.16 pusher-js@8.6.0 socket.io@4.8.4 socket.io-client@4.8.4 ws@8.23.0)

prepare() {
  [ "$(cat "$tools/ready" 2>/dev/null)" != "${packages[*]}" ] || return 0
  rm -rf "$tools" && mkdir -p "$tools" &&
    npm install --prefix "$tools" --no-save --no-package-lock --no-audit --no-fund --silent "${packages[@]}" \
      >"$tools/npm.log" 2>&1 &&
    echo "${packages[*]}" >"$tools/ready"
}

prepare || { echo "skipped: npm cannot fetch ${packages[*]}"; cat "$tools/npm.log" >&2; exit 0; }
# Node looks for packages beside a file and above it.
rm -rf "$tools/tests" && cp -r "$root/tests/protocols" "$tools/tests"
cd "$tools/tests" && node --test protocols.test.mjs
