# present.sh TOP FOLDER GROUP POINT KEY URL [FILE SHA256]...: the files of the point's volume at its address, which clients
# reach at URL.
export_dir=$1 folder=$2 group=$3 point=$4 key=$5 url=$6
shift 6
lock "$export_dir" "$group"
(descend "$export_dir" ".leeward/points/$group/$point") 2>/dev/null || fail no-point
descend "$export_dir" ".leeward/points/$group/$point"
source=$here/$key
[ -d "$source" ] || fail not-in-point
own "$export_dir" "given-up/$point/$key"
aside=$here

is_new=
(descend "$export_dir" "$folder") 2>/dev/null || is_new=1
descend "$export_dir" "$folder" create
volume=$here
if [ -n "$is_new" ]; then
    chmod --reference="$source" .
    chown --reference="$source" .
fi

sha() {
    sha256sum <"$1" | cut -c 1-64
}

# All files are copied and checked before the first is put in place.
rm -rf -- ./.leeward-present
mkdir -m 700 -- ./.leeward-present
stage() {
    number=0
    while [ $# -gt 0 ]; do
        file=$1 expected=$2
        shift 2
        number=$((number + 1))
        if [ -L "./$file" ]; then fail not-a-file "$file" "a symbolic link"; fi
        if [ -e "./$file" ] && [ ! -f "./$file" ]; then fail not-a-file "$file" "no regular file"; fi
        if [ -f "./$file" ] && [ "$(sha "./$file")" = "$expected" ]; then continue; fi
        [ -f "$source/$file" ] || fail differs "$file" "is missing from the recovery point"
        clone "$source/$file" "./.leeward-present/$number"
        found=$(sha "./.leeward-present/$number")
        if [ "$found" != "$expected" ]; then
            rm -rf -- ./.leeward-present
            fail differs "$file" "in the recovery point has sha256 $found, not $expected"
        fi
        sync -- "./.leeward-present/$number"
    done
}
stage "$@"

# keep FILE: a clone of what is about to be replaced, unless the newest one kept is the same.
keep() {
    kept=$aside/$1
    mkdir -p -- "${kept%/*}"
    if [ -f "$kept" ] && cmp -s -- "./$1" "$kept"; then return; fi
    rm -f -- "$aside/.leeward-keep"
    clone "./$1" "$aside/.leeward-keep"
    sync -- "$aside/.leeward-keep"
    mv -T --backup=numbered -- "$aside/.leeward-keep" "$kept"
    sync -- "${kept%/*}"
}

put() {
    number=0
    while [ $# -gt 0 ]; do
        file=$1
        shift 2
        number=$((number + 1))
        [ -e "./.leeward-present/$number" ] || continue
        if [ -f "./$file" ]; then keep "$file"; fi
        from=$(pwd -P)/.leeward-present/$number
        case $file in
        */*) descend "$export_dir" "$folder/${file%/*}" create ;;
        esac
        mv -T -- "$from" "./${file##*/}"
        sync -- .
        cd -P -- "$volume"
    done
}
put "$@"

# The NFS server remembers which file a name means (ganesha: for 60 s, unless Attr_Expiration_Time is 0), and would give
# clients the replaced one. Each file gets a second name; a listing over NFS that counts two has found the new file.
# A server that does not answer remembers nothing.
shown() {
    listed=$(timeout 5 nfs-ls "$1" 2>/dev/null) || return 0
    printf '%s\n' "$listed" | name=$2 awk '
        { links = $2; sub(/^[^ ]+ +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ /, "") }
        $0 == ENVIRON["name"] { found = 1; stale = (links + 0 < 2) }
        END { exit found && stale }'
}
rm -rf -- ./.leeward-present
mkdir -m 700 -- ./.leeward-present
number=0
tries=0
while [ $# -gt 0 ]; do
    file=$1
    shift 2
    number=$((number + 1))
    ln -- "./$file" "./.leeward-present/$number"
    case $file in
    */*) at=$url/${file%/*} ;;
    *) at=$url ;;
    esac
    until shown "$at" "${file##*/}"; do
        tries=$((tries + 1))
        [ "$tries" -lt 150 ] || fail stale "$file"
        sleep 0.5
    done
done
rm -rf -- ./.leeward-present
sync -- .
