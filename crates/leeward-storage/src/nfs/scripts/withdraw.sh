# withdraw.sh TOP GROUP POINT: it is gone in one step, its blocks after that.
lock "$1" "$2"
own "$1" "points/$2"
if [ -d "./$3" ]; then
    rm -rf -- "./@gone-$3"
    mv -T -- "./$3" "./@gone-$3"
    sync -- .
fi
rm -rf -- ./@gone-* "./$3.partial"
