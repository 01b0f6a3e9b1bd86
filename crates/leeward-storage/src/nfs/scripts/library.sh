set -eu
umask 022
LC_ALL=C
export LC_ALL

# fail KIND [WORD...]: ends the script with an error that the sender understands.
fail() {
    printf '\n@fail' >&2
    printf '\0%s' "$@" >&2
    printf '\0\n' >&2
    exit 77
}

# descend TOP FOLDER [create]: goes into TOP/FOLDER. Every step is checked after it was taken, so that neither a symbolic
# link nor one put there meanwhile leads out of TOP.
descend() {
    [ -d "$1" ] || fail no-export "$1"
    cd -P -- "$1"
    here=$(pwd -P)
    top=$here
    old_ifs=$IFS
    IFS=/
    set -f
    for part in $2; do
        if [ -L "./$part" ]; then fail unsafe "$here/$part" "it is a symbolic link"; fi
        if [ ! -e "./$part" ]; then
            if [ -z "${3-}" ]; then fail absent "$here/$part"; fi
            # Another script may be about to make the same one.
            mkdir -- "./$part" 2>/dev/null || [ -d "./$part" ] || mkdir -- "./$part"
        fi
        if [ ! -d "./$part" ]; then fail unsafe "$here/$part" "it is a file"; fi
        cd -P -- "./$part"
        here=${here%/}/$part
        if [ "$(pwd -P)" != "$here" ]; then fail unsafe "$here" "it leads to $(pwd -P)"; fi
    done
    set +f
    IFS=$old_ifs
}

# own TOP FOLDER: as descend, for Leeward's own folder in the export; clients other than root may not look into it.
own() {
    descend "$1" .leeward create
    chmod 711 .
    descend "$1" ".leeward/${2%%/*}" create
    # The probe writes as clients do, and the export may squash root.
    if [ "$2" = probe ]; then chmod 777 .; else chmod 700 .; fi
    descend "$1" ".leeward/$2" create
}

# lock TOP NAME: waits shortly for other scripts on the same NAME; held until this one ends, and by what it started.
lock() {
    own "$1" locks
    exec 9>"./$2"
    flock -w 5 9 || fail busy "$2"
}

# list: what is below the current folder, one record each: type size blocks mtime ctime inode path.
list() {
    find . -mindepth 1 -path ./.leeward-present -prune -o -printf '%y %s %b %T@ %C@ %i %P\0' </dev/null
}

# hashes: sha256 of every regular file below the current folder.
hashes() {
    find . -path ./.leeward-present -prune -o -type f -print0 | sort -z | xargs -0 -r sha256sum -z --
}

# clone FROM TO: a copy that shares its blocks where the file system can.
clone() {
    cp -a --reflink=auto --sparse=always -- "$1" "$2"
}

# settle: the current folder and all below it to stable storage.
settle() {
    find . \( -type f -o -type d \) -exec sync -- {} +
}
