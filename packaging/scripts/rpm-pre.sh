if [ "$1" = 1 ]; then
    note first
    remember
else
    remember
fi
