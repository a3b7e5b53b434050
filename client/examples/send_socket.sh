#!/bin/sh
# Send events to a standpipe agent over its socket:  send_socket.sh SOCKET STREAM [FILE]
#
# SOCKET is the path of the agent's listener "socket", /run/standpipe/events.sock. FILE holds one
# JSON object a line; without it, 300 readings are made up. An event's key is the object's field
# "sensor": events of one key stay in order, all the way to the destination.
#
# Needs socat, or a netcat that knows Unix sockets (Debian: netcat-openbsd). A request is a line of
# JSON, and so is its answer: {"offset":17} or {"error":"...","code":"..."}.
set -eu

[ $# -ge 2 ] || { echo "usage: $0 SOCKET STREAM [FILE]" >&2; exit 1; }
socket=$1 stream=$2 file=${3:-}

if [ -z "$file" ]; then
  file=$(mktemp)
  trap 'rm -f "$file"' EXIT
  awk 'BEGIN { for (n = 1; n <= 300; n++) printf "{\"sensor\":\"pump-%d\",\"n\":%d}\n", n % 8, n }' >"$file"
fi

# The line is JSON already, so it goes into the request as it is.
requests() {
  sed 's/^.*"sensor": *\("[^"]*"\).*$/{"stream":"'"$stream"'","key":\1,"data":&,"ack":"durable"}/'
}

# Both end their side of the connection after the last request, and wait for the answers: socat for a
# minute, after the half second that it waits by itself some would be missing.
if command -v socat >/dev/null; then
  exchange() { socat -t 60 - "UNIX-CONNECT:$socket"; }
elif command -v nc >/dev/null; then
  exchange() { nc -N -U "$socket"; }
else
  echo "$0: neither socat nor nc is installed" >&2
  exit 1
fi

# Answers come in the order of the requests, each when its event is on the agent's disk. A request
# that is refused does not stop those after it.
requests <"$file" | exchange | awk -v sent="$(grep -c '' "$file")" '
  /^[{]"offset"/ { last = $0; if (!stored++) first = $0; next }
  { print "line " NR ": " $0 > "/dev/stderr" }
  END {
    print "stored " stored + 0 " of " sent " events, the first " first ", the last " last
    exit stored != sent
  }'
