case $1 in
remove | deconfigure)
    # In favour of another package, which shall go on where this one was
    if [ "${2-}" = in-favour ]; then remember; fi
    stop_it
    deregister
    ;;
esac
