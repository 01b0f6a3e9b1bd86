# empty.sh TOP FOLDER...: for each folder, "-" if it is absent or without a file, else "+".
export_dir=$1
shift
for folder in "$@"; do
    # A path that is unsafe is not empty: whoever wants to read it is told what is wrong with it.
    said=$( (descend "$export_dir" "$folder" && find . -path ./.leeward-present -prune -o -type f -print -quit) 2>&1 | tr -d '\0') || :
    case $said in
    '' | *@failabsent*) printf '%s\0' - ;;
    *) printf '%s\0' + ;;
    esac
done
