# One GET / by the first program of the container that can make it. Arguments: seconds, host, port.
# Output: a line that names the program, then the answer as it came. Ends with 127 where no program can.
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY
has() { command -v "$1" >/dev/null 2>&1; }
some() { if has head; then head -c 4096; else cat; fi; }
limit=
if has timeout; then limit="timeout $0"; fi
if has curl; then
  curl --version | { read -r name version rest; echo "$name $version"; }
  { curl -q -sS -i --max-time "$0" "http://$1:$2/"; echo "ended with $?" >&2; } | some
elif has wget; then
  if wget --version >/dev/null 2>&1; then
    wget --version | { read -r gnu name version rest; echo "$name $version"; }
    { wget -nv -O - --save-headers --content-on-error --max-redirect=0 -t 1 -T "$0" "http://$1:$2/"; echo "ended with $?" >&2; } | some
  else
    echo "wget of BusyBox"
    { $limit wget -q -S -O - "http://$1:$2/"; echo "ended with $?" >&2; } | some
  fi
elif has bash; then
  echo "bash"
  $limit bash -c 'exec 3<>"/dev/tcp/$1/$2" || exit 1
    printf "GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: pxc-link\r\nAccept: */*\r\nConnection: close\r\n\r\n" "$1:$2" >&3
    IFS= read -r -t "$0" -d "" -n 4096 answer <&3
    printf %s "$answer"' "$0" "$1" "$2"
  echo "ended with $?" >&2
elif has nc && has sleep; then
  echo "nc"
  # Some close the connection when their input ends, and the sidecar then takes the client for gone.
  { { printf 'GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: pxc-link\r\nAccept: */*\r\nConnection: close\r\n\r\n' "$1:$2"; sleep 3; } |
    $limit nc -w "$0" "$1" "$2"; echo "ended with $?" >&2; } | some
else
  exit 127
fi
