if [ "$1" = 0 ]; then
    stop_it
    deregister
fi
