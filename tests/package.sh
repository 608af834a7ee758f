#!/usr/bin/env bash
# Tests the Debian package: builds it around a binary, installs it in a scratch root, runs what is installed, removes
# and purges it.
#
#   tests/package.sh target/release/throng
#
# It needs Debian's dpkg-dev, systemd and curl, and root, or fakeroot, which keeps the owners apart without it. Nothing
# of the machine itself is changed.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# = 1 ] || { sed -n '5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 64; }
if [ "$(id -u)" != 0 ] && [ -z "${FAKEROOTKEY:-}" ]; then
  exec fakeroot -- "${BASH_SOURCE[0]}" "$@"
fi
# The highest exposure that `systemd-analyze security` may find, times ten: 0 is none, and 100 is all.
most_exposed=20
binary=$(realpath "$1")
scratch=$(mktemp -d)
root=$scratch/root
server=
trap finish EXIT

finish() {
  local status=$?
  [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
  rm -rf "$scratch"
  exit "$status"
}

fail() { echo "package: $*" >&2; exit 1; }

# has MODE OWNER PATH: checks a file or folder of the scratch root.
has() {
  [ -e "$root/$3" ] || fail "there is no $3"
  local found
  found=$(stat -c '%a %u:%g' "$root/$3")
  [ "$found" = "$1 $2" ] || fail "$3 is $found, not $1 $2"
}

hasnt() { [ ! -e "$root/$1" ] || fail "$1 is still there"; }

# dpkg in the scratch root, which has none of the packages that this one needs. The maintainer scripts run with the
# machine's programs, and find the root in DPKG_ROOT.
in_root() {
  dpkg --root="$root" --force-script-chrootless --force-depends --force-not-root --log="$scratch/dpkg.log" "$@" \
    >"$scratch/dpkg.out" 2>&1 || { cat "$scratch/dpkg.out" >&2; fail "dpkg $* failed"; }
}

# The state of the package in the scratch root.
state() {
  dpkg-query --admindir="$root/var/lib/dpkg" --show --showformat='${db:Status-Status}' throng 2>/dev/null || echo none
}

# Prints a port that is free now.
free_port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

echo '-- the package is built'
deb=$("$repository/packaging/deb.sh" "$binary")
printf '%s: %s KiB\n' "$(basename "$deb")" $(($(stat -c %s "$deb") / 1024))
dpkg-deb --info "$deb" | sed -n '/^ Package/,$p'

echo '-- it is installed'
mkdir -p "$root"/{etc,usr/bin,usr/sbin,usr/lib,var/lib/dpkg/info,var/lib/dpkg/updates}
for folder in bin sbin lib; do ln -s "usr/$folder" "$root/$folder"; done
touch "$root/var/lib/dpkg/status" "$root/var/lib/dpkg/available"
in_root --install "$deb"
[ "$(state)" = installed ] || fail "the package is $(state)"
has 755 0:0 usr/bin/throng
has 644 0:0 etc/throng/throng.toml
has 644 0:0 usr/lib/systemd/system/throng.service
has 644 0:0 usr/lib/sysusers.d/throng.conf
has 644 0:0 usr/share/man/man1/throng.1.gz
has 644 0:0 usr/share/man/man1/throng-health.1.gz
has 644 0:0 usr/share/bash-completion/completions/throng
has 644 0:0 usr/share/fish/vendor_completions.d/throng.fish
has 644 0:0 usr/share/zsh/vendor-completions/_throng
has 644 0:0 usr/share/doc/throng/copyright
grep -q '^throng:.*:/var/lib/throng:' "$root/etc/passwd" || fail 'there is no user throng'
grep -q '^throng:' "$root/etc/group" || fail 'there is no group throng'
find "$root/etc/systemd/system" -name throng.service -type l | grep -q . || fail 'the service is not enabled'
bash -n "$root/usr/share/bash-completion/completions/throng"
gzip -cd "$root/usr/share/man/man1/throng.1.gz" | grep -q '^\.TH throng 1' || fail 'the manual page is none'
others=$(find "$root" -type f -newer "$root/usr/bin/throng" -name '*.dpkg-*')
[ -z "$others" ] || fail "dpkg has left $others"

echo '-- systemd understands the service'
# Every unit that the service names has to be there, and the machine has them.
mkdir -p "$scratch/units"
cp "$root/usr/lib/systemd/system/throng.service" "$scratch/units"
# The program is at its place in the scratch root alone.
sed -i "s|^ExecStart=/usr|ExecStart=$root/usr|" "$scratch/units/throng.service"
said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$scratch/units/throng.service" 2>&1) ||
  fail "systemd-analyze verify: $said"
! grep -i throng <<<"$said" || fail 'systemd-analyze verify has something to say'
systemd-analyze security --offline=true --threshold="$most_exposed" --no-pager "$scratch/units/throng.service" \
  >"$scratch/security" 2>&1 || { cat "$scratch/security"; fail 'the service is too exposed'; }
tail -n 1 "$scratch/security"

echo '-- the installed server runs with the default settings'
port=$(free_port)
installed=$root/usr/bin/throng
"$installed" --version
"$installed" check-config --config "$root/etc/throng/throng.toml"
# The default folder belongs to the service of this machine, and so may the default port.
"$installed" --config "$root/etc/throng/throng.toml" --listen "127.0.0.1:$port" \
  --set history.dir="$scratch/history" --set drain.window=0ms 2>"$scratch/log" &
server=$!
for ((tries = 0; tries < 300; tries++)); do
  ! "$installed" health --ready --url "http://127.0.0.1:$port" 2>/dev/null || break
  sleep 0.1
done
"$installed" health --ready --url "http://127.0.0.1:$port" || { cat "$scratch/log"; fail 'the server is not well'; }
kill -TERM "$server"
wait "$server" || { cat "$scratch/log"; fail 'the server has not ended well'; }
server=
[ -e "$scratch/history" ] || fail 'the history is not in its folder'

echo '-- settings survive an upgrade and the removal, and nothing survives the purge'
echo '# changed' >>"$root/etc/throng/throng.toml"
in_root --install "$deb"
grep -q '^# changed' "$root/etc/throng/throng.toml" || fail 'the upgrade has changed the settings'
mkdir -p "$root/var/lib/throng/history"
in_root --remove throng
[ "$(state)" = config-files ] || fail "the package is $(state)"
hasnt usr/bin/throng
hasnt usr/lib/systemd/system/throng.service
has 644 0:0 etc/throng/throng.toml
[ -d "$root/var/lib/throng/history" ] || fail 'the removal has taken the history'
in_root --purge throng
case $(state) in none | not-installed) ;; *) fail "the package is $(state)" ;; esac
hasnt etc/throng
hasnt var/lib/throng
left=$(find "$root" -name '*throng*' -not -path '*/var/lib/dpkg/*')
[ -z "$left" ] || fail "the purge has left $left"
grep -q '^throng:' "$root/etc/passwd" || fail 'the user is gone, and another could get its number'
echo 'package: ok'
