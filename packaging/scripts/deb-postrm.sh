case $1 in
remove)
    if systemd_runs; then systemctl daemon-reload || true; fi
    ;;
purge)
    purge_files
    if systemd_runs; then systemctl daemon-reload || true; fi
    ;;
abort-install) forget ;;
esac
