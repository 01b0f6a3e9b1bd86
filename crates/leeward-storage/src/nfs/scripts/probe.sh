# probe.sh TOP URL WORD SECONDS: tries to write a file WORD through the NFS server; then what it said, and free bytes.
own "$1" probe
# A new name each time: libnfs does not write to a file that is there. Probes that were cut off leave theirs behind.
find . -type f -mmin +10 -delete
url=$2/.leeward/probe/$3
word=$(mktemp)
printf '%s' "$3" >"$word"
found=refused
answers=
for version in 3 4; do
    if answer=$(timeout "$4" nfs-cp "$word" "$url?version=$version" 2>&1); then
        # Only if the word has arrived in this folder is it this export that takes writes.
        if [ "$(cat -- "./$3" 2>/dev/null)" = "$3" ]; then found=written; else found=elsewhere; fi
        break
    fi
    answers="$answers NFSv$version: $answer"
    # A server that speaks the other version only does not even mount.
    case $answer in *ROFS*) break ;; esac
done
rm -f -- "$word" "./$3"
printf '%s\0%s\0' "$found" "$answers"
df -P -B1 . | awk 'NR == 2 { printf "%s%c", $4, 0 }'
