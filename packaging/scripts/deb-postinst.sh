case $1 in
configure)
    configure_files
    keep_configuration
    make_user
    register
    start_again
    forget
    ;;
triggered) restore_configuration ;;
abort-remove | abort-deconfigure)
    register
    start_again
    forget
    ;;
abort-upgrade) forget ;;
esac
