# stdin stays open as long as the sender lives; at its end everything that was started ends. The group is the script's
# own: sshd and the sender both start it in a new one.
exec 3<&0 </dev/null
printf '@alive\n' >&2
(while sleep 2 >/dev/null 2>&1; do printf '@alive\n' >&2; done) 3<&- >/dev/null &
heart=$!
(cat <&3 && kill -TERM 0) >/dev/null 2>&1 &
guard=$!
exec 3<&-
trap 'kill "$heart" "$guard" 2>/dev/null || :' EXIT
main "$@"
