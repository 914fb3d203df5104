command -v od >/dev/null 2>&1 && [ "$(command -v printf)" = printf ] || exit 127
exec 5>&1
trap '' PIPE
hex() { od -An -v -tx1 -N "$2" | while read -r bytes; do echo "$1 $bytes"; done; }
tell() {
  n=$1 most=$2; shift 2
  code=$( { { { printf %s "$given" | "$@" 2>&4 3>&- 4>&- 5>&-; echo $? >&3; } | hex "$n out" "$most" >&5; } 4>&1 | hex "$n err" "$most" >&5; } 3>&1 )
  echo "$n end $code" >&5
}
text=
while IFS= read -r line; do
  case $line in
    .) eval "$text" & text= ;;
    *) text="$text${line#|}
" ;;
  esac
done
wait
