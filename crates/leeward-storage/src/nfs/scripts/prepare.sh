# prepare.sh TOP GROUP POINT BASE OWNER [KEY HOW BYTES SEED]...: the folder in which the point is made, filled with what is
# known. HOW is base (the volume is taken over unchanged) or send (it is the start of a transfer of BYTES allocated bytes,
# SEED a folder in the export to start from when there is nothing better).
export_dir=$1 group=$2 point=$3 base=$4 owner=$5
shift 5
lock "$export_dir" "$group"
own "$export_dir" "points/$group"
[ ! -e "./$point" ] || fail exists
mkdir -p -- "./$point.partial"
cd -- "./$point.partial"
printf '%s' "$owner" >@owner

# What an earlier attempt left and this one does not want.
for there in ./*; do
    [ -e "$there" ] || continue
    wanted=
    turn=0
    for word in "$@"; do
        if [ "$turn" = 0 ] && [ "./$word" = "$there" ]; then wanted=1; fi
        turn=$(((turn + 1) % 4))
    done
    if [ "$there" = ./@owner ] || [ -n "$wanted" ]; then continue; fi
    rm -rf -- "$there"
done

used() {
    if [ -d "$1" ]; then du -s -B1 -- "$1" | cut -f 1; else echo 0; fi
}

# At least this much is new, however well the clones share.
needed=0
turn=0
for word in "$@"; do
    case $turn in
    0) key=$word ;;
    1) how=$word ;;
    2)
        if [ "$how" = send ]; then
            have=$(used "./$key")
            if [ "$have" = 0 ] && [ -n "$base" ]; then have=$(used "../$base/$key"); fi
            if [ "$word" -gt "$have" ]; then needed=$((needed + word - have)); fi
        fi
        ;;
    esac
    turn=$(((turn + 1) % 4))
done
free=$(df -P -B1 . | awk 'NR == 2 { print $4 }')
[ "$needed" -lt "$free" ] || fail full "$needed" "$free"

while [ $# -gt 0 ]; do
    key=$1 how=$2 seed=$4
    shift 4
    if [ "$how" = base ]; then
        rm -rf -- "./$key" ./@clone
        clone "../$base/$key" ./@clone
        mv -T -- ./@clone "./$key"
    elif [ -d "./$key" ]; then
        # A receiver of an earlier attempt may not have noticed yet that its sender is gone: it gets to keep the old file.
        find "./$key" -type f -exec sh -eu -c '
            for file in "$@"; do
                cp -a --reflink=auto --sparse=always -- "$file" ./@fresh
                mv -T -- ./@fresh "$file"
            done' sh {} +
    elif [ -n "$base" ] && [ -d "../$base/$key" ]; then
        rm -rf -- ./@clone
        clone "../$base/$key" ./@clone
        mv -T -- ./@clone "./$key"
    else
        rm -rf -- ./@clone
        if [ -n "$seed" ] && (descend "$export_dir" "$seed") 2>/dev/null; then
            # A live volume may hold anything, and be written meanwhile; only its files are of use.
            mkdir -- ./@clone
            (
                into=$(pwd -P)/@clone
                descend "$export_dir" "$seed"
                clone . "$into"
                find "$into" -depth -mindepth 1 ! -type f ! -type d -exec rm -f -- {} +
                rm -rf -- "$into/.leeward-present"
            )
        else
            mkdir -- ./@clone
        fi
        mv -T -- ./@clone "./$key"
    fi
done
