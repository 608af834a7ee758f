#!/usr/bin/env bash
# Builds the Debian package of this machine's architecture, and prints its path.
#
#   packaging/deb.sh           builds the binary with the profile `dist`, and the package around it
#   packaging/deb.sh BINARY    takes this binary, and builds none
#
# It needs cargo and Debian's dpkg-dev. cargo-deb is built once into target/tools where it is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
cargo_deb=3.8.0
[ $# -le 1 ] || { sed -n '4,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64; }

# Builds cargo-deb into the target folder, unless this version of it is there.
install_cargo_deb() {
  [ -x "$target/tools/bin/cargo-deb" ] && [ "$("$target/tools/bin/cargo-deb" --version)" = "$cargo_deb" ] ||
    cargo install --quiet --locked --root "$target/tools" cargo-deb --version "=$cargo_deb" >&2
}

cd "$root"
install_cargo_deb
export CARGO_TARGET_DIR=$target/deb
built=$CARGO_TARGET_DIR/dist
if [ $# = 1 ]; then
  mkdir -p "$built"
  # A release binary has what debuggers read, which the profile `dist` leaves out.
  strip -o "$built/throng" "$1"
else
  cargo build --quiet --locked --profile dist --bin throng >&2
fi

# The files about the command line are the binary's own words.
generated=$built/package
rm -rf "$generated"
mkdir -p "$generated/man" "$generated/completions"
"$built/throng" man "$generated/man"
gzip --best --no-name "$generated"/man/*
for shell in bash fish zsh; do
  "$built/throng" completions "$shell" >"$generated/completions/$shell"
done

rm -rf "$CARGO_TARGET_DIR/debian"
"$target/tools/bin/cargo-deb" --quiet --locked --no-build --output "$CARGO_TARGET_DIR/debian/" >/dev/null
echo "$CARGO_TARGET_DIR"/debian/*.deb
