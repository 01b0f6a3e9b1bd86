# server-read.sh CONFIG: the file, and its sha256.
[ -f "$1" ] || fail no-config
cat -- "$1"
printf '\0%s\0' "$(sha256sum <"$1" | cut -c 1-64)"
