#!/usr/bin/env bash
# Tests the clients that are packages, in `clients/`, against the server's binary.
#
#   tests/clients.sh target/debug/throng
#
# The tests need Python with the package websockets, and Node; `tests/run` installs both. Two things are fetched with
# pip and npm into `target/`, and skipped with a line that says so where that is not possible: the checkers of types
# and a new websockets for Python, and TypeScript, React and a bundler for JavaScript. The example with a bundler is
# opened in Chromium, and skipped like that where there is none.
set -euo pipefail

# Versions of what is fetched, in this place alone. A release that finds something new must not break the build of a
# commit that has not changed. Raise them together, and run this script. The tests in Debian's Python have its older
# websockets.
PYTHON_PACKAGES=(websockets==17.4 mypy==2.4.1 pyright==1.1.414)
NPM_PACKAGES=(typescript@7.0.2 react@19.3.1 react-dom@19.3.1 esbuild@0.28.2 jsdom@29.1.1 ws@8.23.0)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# = 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 64; }
THRONG_BINARY=$(realpath "$1")
export THRONG_BINARY PYTHONDONTWRITEBYTECODE=1
tools=${CARGO_TARGET_DIR:-$root/target}/tmp/clients
mkdir -p "$tools"
# A thousand clients in one process.
ulimit -n "$(ulimit -Hn)"

# python_tests PYTHON TEST…: runs tests of the Python client.
python_tests() {
  printf -- '-- the Python client, with websockets %s\n' "$("$1" -c 'import websockets; print(websockets.__version__)')"
  (cd "$root/clients/python" && PYTHONPATH=src "$1" -m unittest "${@:2}")
}

# Prepares a virtual environment with a new websockets and the checkers of types, once for these versions.
prepare_python() {
  [ "$(cat "$tools/python/ready" 2>/dev/null)" != "${PYTHON_PACKAGES[*]}" ] || return 0
  python3 -m venv --clear "$tools/python" >"$tools/python.log" 2>&1 &&
    "$tools/python/bin/pip" install -q "${PYTHON_PACKAGES[@]}" >>"$tools/python.log" 2>&1 &&
    echo "${PYTHON_PACKAGES[*]}" >"$tools/python/ready"
}

check_python_types() {
  printf -- '-- the types of the Python client\n'
  (cd "$root/clients/python" &&
    "$tools/python/bin/mypy" --cache-dir "$tools/mypy" src/throng_client &&
    MYPYPATH=src "$tools/python/bin/mypy" --cache-dir "$tools/mypy" --explicit-package-bases tests)
  # pyright is a program for Node, which its package fetches when it first runs.
  "$tools/python/bin/pyright" --version >"$tools/pyright.log" 2>&1 ||
    { echo "skipped: pyright cannot be fetched"; return; }
  (cd "$root/clients/python" &&
    "$tools/python/bin/pyright" --pythonpath "$tools/python/bin/python")
}

# Fetches the tools of the JavaScript package, once for these versions.
prepare_javascript() {
  [ "$(cat "$tools/javascript/ready" 2>/dev/null)" != "${NPM_PACKAGES[*]}" ] || return 0
  mkdir -p "$tools/javascript" &&
    npm install --prefix "$tools/javascript" --no-save --no-package-lock --no-audit --no-fund --silent \
      "${NPM_PACKAGES[@]}" >"$tools/javascript.log" 2>&1 &&
    echo "${NPM_PACKAGES[*]}" >"$tools/javascript/ready"
}

# Debian's package of websockets belongs to Debian's Python, and PATH may name another one first.
python=$(for it in python3 /usr/bin/python3; do
  if "$it" -c 'import websockets' 2>/dev/null; then command -v "$it"; break; fi
done)
[ -n "$python" ] || { echo "there is no Python with websockets; tests/run installs it" >&2; exit 69; }
python_tests "$python" discover -s . -t .
if prepare_python; then
  # Those that touch the package.
  python_tests "$tools/python/bin/python" tests.test_cases tests.test_dial tests.test_server tests.test_sync
  check_python_types
else
  echo "skipped: pip cannot fetch websockets, mypy and pyright, see $tools/python.log"
fi

prepare_javascript || echo "skipped: npm cannot fetch TypeScript, React, esbuild and jsdom, see $tools/javascript.log"
printf -- '-- the JavaScript client as a package\n'
THRONG_NPM_TOOLS="$tools/javascript" node --test --test-reporter=tap "$root"/clients/js/tests/*.test.mjs \
  "$root/tests/web/cases.test.mjs" >"$tools/node.log" || { cat "$tools/node.log"; exit 1; }
grep '^# \(pass\|fail\|skipped\) ' "$tools/node.log"
grep '# SKIP' "$tools/node.log" || true
