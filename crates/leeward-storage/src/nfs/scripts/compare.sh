# compare.sh TOP FOLDER GROUP POINT KEY FILE...: for each file, how many bytes differ from the point's.
export_dir=$1 folder=$2
descend "$1" ".leeward/points/$3/$4/$5"
point=$here
descend "$export_dir" "$folder"
shift 5
for file in "$@"; do
    if [ -f "./$file" ] && [ -f "$point/$file" ]; then
        # cmp ends with 1 where they differ, and tells of the longer one's rest on stderr only.
        differ=$( (cmp -l -- "./$file" "$point/$file" 2>/dev/null || :) | wc -l)
        live=$(stat -c %s -- "./$file")
        old=$(stat -c %s -- "$point/$file")
        if [ "$live" -gt "$old" ]; then differ=$((differ + live - old)); else differ=$((differ + old - live)); fi
        printf '%s\0' "$differ"
    else
        printf '%s\0' -
    fi
done
