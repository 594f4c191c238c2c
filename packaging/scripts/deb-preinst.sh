case $1 in
install)
    # A removed package whose configuration is left has a second argument
    note first
    remember
    ;;
upgrade) remember ;;
esac
