# server-write.sh TOP CONFIG OLD_SHA256 TEXT PIDFILE: replaces the file if it is still the one that was read; then the
# server reads it again.
lock "$1" server
[ "$(sha256sum <"$2" | cut -c 1-64)" = "$3" ] || fail changed
config=$(readlink -f -- "$2")
cp -a -- "$config" "$config.leeward"
printf '%s' "$4" >"$config.leeward"
sync -- "$config.leeward"
mv -T -- "$config.leeward" "$config"
sync -- "${config%/*}/"
pid=$(cat -- "$5" 2>/dev/null) || fail no-server "there is no pid file $5"
# A pid file may have outlived its server, and the signal would end most others.
case $(cat -- "/proc/$pid/comm" 2>/dev/null || :) in
*ganesha*) kill -HUP "$pid" ;;
*) fail no-server "no ganesha runs with the pid in $5" ;;
esac
