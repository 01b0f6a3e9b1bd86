# push.sh TOP FOLDER LOCK URL CONTIMEOUT TIMEOUT: brings the files at URL to what they are in FOLDER; then a listing.
lock "$1" "$3"
descend "$1" "$2"
# Above 200 the exit code is rsync's.
# --ignore-times: equal length and time do not make equal content, and what is known to be equal is not sent at all.
rsync --archive --numeric-ids --inplace --no-whole-file --sparse --ignore-times --delete --exclude=/.leeward-present \
    --contimeout="$5" --timeout="$6" -- ./ "$4" >&2 || {
    code=$?
    case $code in
    127) code=50 ;;
    [5-9]? | 1??) code=51 ;;
    esac
    exit $((200 + code))
}
list
