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

# descend TOP FOLDER: goes into TOP/FOLDER. Every step is checked after it was taken, so that neither a symbolic
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
        if [ ! -e "./$part" ]; then fail absent "$here/$part"; fi
        if [ ! -d "./$part" ]; then fail unsafe "$here/$part" "it is a file"; fi
        cd -P -- "./$part"
        here=${here%/}/$part
        if [ "$(pwd -P)" != "$here" ]; then fail unsafe "$here" "it leads to $(pwd -P)"; fi
    done
    set +f
    IFS=$old_ifs
}
