# mover.sh REQUEST WORD...: runs the mover, the request on its stdin.
request=$1
shift
printf '%s' "$request" | "$@"
