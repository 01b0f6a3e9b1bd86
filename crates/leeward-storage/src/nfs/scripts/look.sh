# look.sh TOP GROUP POINT BASE: free bytes, then the manifests of both points, empty where there is none.
descend "$1" ''
printf '%s\0' "$(df -P -B1 . | awk 'NR == 2 { print $4 }')"
for point in "$3" "$4"; do
    if [ -n "$point" ] && [ -f ".leeward/points/$2/$point/manifest.json" ]; then
        cat -- ".leeward/points/$2/$point/manifest.json"
    fi
    printf '\0'
done
