#!/usr/bin/env bash
# A cluster on this machine: redis-server, three nodes of throng, and HAProxy in front of them.
#
#   examples/cluster/run.sh           starts it, prints the addresses, and ends it on Ctrl-C
#   examples/cluster/run.sh --check   starts it, sends a message from one node to another through the proxy, ends it;
#                                     exit code 0 if the message has arrived
#
# It needs bash 5.1, redis-server (version 7 or later, or valkey-server) and haproxy, and builds throng with cargo.
# Everything listens on loopback alone. These variables change something:
#
#   ADDRESS=127.0.0.1            address that everything listens on
#   CHAT_PORT, REDIS_PORT, NODE_1_PORT, NODE_2_PORT, NODE_3_PORT
#                                ports; those that are not set are free ones from 8080 and from 6380 on
#   THRONG=target/release/throng binary to use instead of one that is built
#   REDIS_SERVER=redis-server, HAPROXY=haproxy
#                                programs to use
#
# Settings of the nodes can be given as variables, too: THRONG_LOG__LEVEL=debug examples/cluster/run.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
address=${ADDRESS:-127.0.0.1}
redis_server=${REDIS_SERVER:-redis-server}
haproxy=${HAPROXY:-haproxy}
check=false
case ${1:-} in
  '') ;;
  --check) check=true ;;
  *) sed -n '2,19s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 64 ;;
esac

folder=$(mktemp -d)
names=() # of the processes, in the order of their start
declare -A pids=()
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Ends everything: the nodes before the proxy, so that they can tell their clients, and the engine last.
finish() {
  local status=$? name
  trap - EXIT
  trap '' INT TERM
  for name in bob node-1 node-2 node-3 haproxy redis; do
    stop "$name"
  done
  rm -rf "$folder"
  exit "$status"
}

# stop NAME: ends a process by its id, and waits until it has ended.
stop() {
  local pid=${pids[$1]:-}
  [ -n "$pid" ] || return 0
  # An error means that it has ended by itself.
  kill -TERM "$pid" 2>/dev/null || true
  local tries
  for ((tries = 0; tries < 100; tries++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

# fail TEXT: says what went wrong, shows the ends of the logs, and ends everything.
fail() {
  printf 'run.sh: %s\n' "$1" >&2
  local name
  for name in "${names[@]}"; do
    printf '%s\n' "--- $name ---" >&2
    tail -n 8 "$folder/$name.log" >&2
  done
  exit 1
}

# is_open PORT: true if something listens there.
is_open() {
  (: <>"/dev/tcp/$address/$1") 2>/dev/null
}

taken=" ${CHAT_PORT:-} ${REDIS_PORT:-} ${NODE_1_PORT:-} ${NODE_2_PORT:-} ${NODE_3_PORT:-} "

# port_from NUMBER: sets $port to the first port from NUMBER on that is free.
port_from() {
  port=$1
  while [[ $taken == *" $port "* ]] || is_open "$port"; do
    port=$((port + 1))
  done
  taken+="$port "
}

# start NAME COMMAND…: starts a process whose output goes to a log. It has a session of its own: Ctrl-C reaches this
# script alone, which then ends everything in order.
start() {
  local name=$1
  shift
  setsid "$@" >"$folder/$name.log" 2>&1 </dev/null &
  pids[$name]=$!
  names+=("$name")
}

# wait_until NAME COMPLAINT CONDITION…: waits at most 20 seconds until the condition holds, while the process lives.
wait_until() {
  local name=$1 complaint=$2 tries
  shift 2
  for ((tries = 0; tries < 200; tries++)); do
    kill -0 "${pids[$name]}" 2>/dev/null || fail "$name has ended"
    ! "$@" || return 0
    sleep 0.1
  done
  fail "$name $complaint after 20 seconds"
}

# is_ready PORT: true if /readyz answers with 200 there.
is_ready() (
  exec 2>/dev/null 9<>"/dev/tcp/$address/$1" || return 1
  printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&9
  read -r -t 2 line <&9 && [[ $line == "HTTP/1.1 200"* ]]
)

for program in "$redis_server" "$haproxy"; do
  command -v "$program" >/dev/null || fail "$program is missing: install it, or name it in REDIS_SERVER or HAPROXY"
done
throng=${THRONG:-$root/target/release/throng}
if [ -z "${THRONG:-}" ]; then
  cargo build --release --locked --manifest-path "$root/Cargo.toml"
fi

[ -n "${CHAT_PORT:-}" ] || { port_from 8080; CHAT_PORT=$port; }
[ -n "${NODE_1_PORT:-}" ] || { port_from 8081; NODE_1_PORT=$port; }
[ -n "${NODE_2_PORT:-}" ] || { port_from 8082; NODE_2_PORT=$port; }
[ -n "${NODE_3_PORT:-}" ] || { port_from 8083; NODE_3_PORT=$port; }
[ -n "${REDIS_PORT:-}" ] || { port_from 6380; REDIS_PORT=$port; }

start redis "$redis_server" "$here/redis.conf" --bind "$address" --port "$REDIS_PORT" --dir "$folder"
wait_until redis "does not accept connections at $address:$REDIS_PORT" is_open "$REDIS_PORT"

for number in 1 2 3; do
  port=NODE_${number}_PORT
  # Each node runs with the same file. Only its name and its addresses differ.
  start "node-$number" "$throng" --config "$here/node.toml" --listen "$address:${!port}" \
    --set "node=node-$number" --set "redis.addresses=$address:$REDIS_PORT"
done
for number in 1 2 3; do
  port=NODE_${number}_PORT
  wait_until "node-$number" "is not ready at $address:${!port}" is_ready "${!port}"
done

export BIND=$address:$CHAT_PORT
export NODE_1=$address:$NODE_1_PORT NODE_2=$address:$NODE_2_PORT NODE_3=$address:$NODE_3_PORT
start haproxy "$haproxy" -db -f "$here/haproxy.cfg"
wait_until haproxy "finds no node that is ready" is_ready "$CHAT_PORT"

# node_of LOG: prints the name of the node that a chat is connected to, or nothing.
node_of() {
  sed -n '/"event":"connected"/s/.*"node":"\([^"]*\)".*/\1/p' "$folder/$1.log"
}

# has_entered NAME: true once a chat is connected.
has_entered() {
  [ -n "$(node_of "$1")" ]
}

# Two clients come through the proxy, which gives them to different nodes, and one says something to the other.
if $check; then
  text="from one node to another"
  chat=("$throng" chat "ws://$BIND" --room check --json --user)
  # Bob stays as long as his input is open.
  mkfifo "$folder/input"
  exec 8<>"$folder/input"
  setsid "${chat[@]}" bob <"$folder/input" >"$folder/bob.log" 2>&1 &
  pids[bob]=$!
  names+=(bob alice)
  wait_until bob "has not entered the room" has_entered bob
  "${chat[@]}" alice <<<"$text" >"$folder/alice.log" 2>&1 || fail "alice's message was not accepted"
  [ "$(node_of alice)" != "$(node_of bob)" ] || fail "the proxy gave both clients to $(node_of bob)"
  wait_until bob "has not got the message" grep -q "$text" "$folder/bob.log"
  printf 'a message went from %s to %s\n' "$(node_of alice)" "$(node_of bob)"
  exit 0
fi

printf 'chat       http://%s/\n' "$BIND"
for number in 1 2 3; do
  node=NODE_$number
  printf 'node-%s     http://%s/dashboard   pid %s\n' "$number" "${!node}" "${pids[node-$number]}"
done
printf 'redis      %s:%s   pid %s\n' "$address" "$REDIS_PORT" "${pids[redis]}"
printf 'haproxy    %s   pid %s\n' "$BIND" "${pids[haproxy]}"
printf 'logs       %s\n\n' "$folder"
printf 'Talk in two windows:  %s chat ws://%s --user alice\n' "$throng" "$BIND"
printf 'End a node:           kill -9 %s   (its clients come back on another)\n' "${pids[node-1]}"
printf 'End everything:       Ctrl-C\n'

# Reports every process that ends, until none is left.
while [ ${#names[@]} != 0 ]; do
  # Without bash's own report of a signal.
  { wait -n -p ended || true; } 2>/dev/null
  left=()
  for name in "${names[@]}"; do
    if [ "${pids[$name]}" = "${ended:-}" ]; then
      printf '%s has ended\n' "$name"
      unset "pids[$name]"
    else
      left+=("$name")
    fi
  done
  names=("${left[@]}")
done
