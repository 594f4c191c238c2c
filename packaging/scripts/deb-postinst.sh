case $1 in
configure)
    # The notes are gone if the machine was started anew since the package was unpacked
    [ -n "${2-}" ] || note first
    configure_files
    keep_configuration
    make_user
    register
    tell_unused
    start_again
    next_steps
    forget
    ;;
triggered) restore_configuration ;;
abort-remove | abort-deconfigure)
    # The notes are gone if the machine was started anew since the package was unpacked
    [ -n "${2-}" ] || note first
    register
    start_again
    forget
    ;;
abort-upgrade) forget ;;
esac
