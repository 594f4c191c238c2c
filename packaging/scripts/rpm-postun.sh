if [ "$1" = 0 ] && systemd_runs; then systemctl daemon-reload || true; fi
