# measure.sh TOP FOLDER URL CONTIMEOUT TIMEOUT: what rsync would send to bring the files at URL to what they are in FOLDER.
# Nothing is written there: the differences go into a batch that nobody keeps.
descend "$1" "$2"
rsync --recursive --no-whole-file --ignore-times --only-write-batch=/dev/null --stats --no-human-readable \
    --exclude=/.leeward-present --contimeout="$4" --timeout="$5" -- ./ "$3"
