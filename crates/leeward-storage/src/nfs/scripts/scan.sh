# scan.sh TOP FOLDER: listing, fingerprints, listing again, with a record "@" between.
descend "$1" "$2"
list
printf '@\0'
hashes
printf '@\0'
list
