# seal.sh TOP GROUP POINT OWNER MANIFEST: the finished folder becomes a point.
lock "$1" "$2"
own "$1" "points/$2"
[ ! -e "./$3" ] || fail exists
if [ ! -d "./$3.partial" ] || [ "$(cat -- "./$3.partial/@owner")" != "$4" ]; then fail busy; fi
cd -- "./$3.partial"
rm -rf -- ./@clone ./@fresh
printf '%s\n' "$5" >manifest.json
settle
rm -f -- ./@owner
cd ..
mv -T -- "./$3.partial" "./$3"
sync -- .
