# points.sh TOP GROUP: name and manifest of every whole point.
descend "$1" ''
cd -P -- ".leeward/points/$2" 2>/dev/null || exit 0
for manifest in ./*/manifest.json; do
    [ -f "$manifest" ] || continue
    name=${manifest%/manifest.json}
    name=${name#./}
    case $name in *.partial | @*) continue ;; esac
    printf '%s\0' "$name"
    # The point may be withdrawn at this moment.
    cat -- "$manifest" 2>/dev/null || :
    printf '\0'
done
