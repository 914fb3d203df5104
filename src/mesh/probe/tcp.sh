# Connects and listens for a while. Arguments: seconds to listen, host, port.
# Output: a line that names the program, the first bytes that came, and a line `open` or `closed`. Ends with 127 where no
# program can.
has() { command -v "$1" >/dev/null 2>&1; }
if has bash; then
  echo "bash"
  limit=
  if has timeout; then limit="timeout $(($0 + 5))"; fi
  $limit bash -c 'exec 3<>"/dev/tcp/$1/$2" || exit 1
    IFS= read -r -t "$0" -d "" -n 1 first <&3
    case $? in
      0) IFS= read -r -t 0.3 -d "" -n 63 rest <&3; end=open ;;
      1) end=closed ;;
      *) end=open ;;
    esac
    printf "%s%s\n%s\n" "$first" "$rest" "$end"' "$0" "$1" "$2"
elif has sleep && has date; then
  if has nc; then
    # OpenBSD's stays while its input is open, whatever the other side does.
    case $(nc -h 2>&1) in
      *OpenBSD*) program="nc -d -w $0 $1 $2" ;;
      *) program="nc -w $0 $1 $2" ;;
    esac
  elif has curl; then
    program="curl -q -sS -N --connect-timeout $0 --max-time $(($0 + 2)) telnet://$1:$2"
  else
    exit 127
  fi
  echo "${program%% *}"
  if has timeout; then program="timeout $(($0 + 2)) $program"; fi
  begun=$(date +%s)
  sleep "$0" | {
    $program
    if [ $(($(date +%s) - begun)) -lt $(($0 - 1)) ]; then end=closed; else end=open; fi
    printf '\n%s\n' "$end"
  }
else
  exit 127
fi
