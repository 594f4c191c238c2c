#compdef scalyr-agent-2 scalyr-agent-2-config
# Made by: cargo xtask

_scalyr_agent_2() {
    local curcontext=$curcontext state line ret=1
    typeset -A opt_args
    if [[ $service == scalyr-agent-2-config ]]; then
        _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '--set-python[Only says that there is no Python here.]:PYTHON:(default python python2 python3)' \
            '--report-python-version[Likewise, with the version of Rust.]' \
            '--systemd-managed[Let systemd run it instead of init.d.]' \
            '--set-key-from-stdin[Set the API key to a line of stdin.]' \
            '--set-key[Set it to KEY, which ps and history show.]:KEY: ' \
            '--set-scalyr-server[Where to send to.]:URL: ' \
            '--set-server-host[This machine'\''s serverHost.]:NAME: ' \
            '--set-user[Run as USER\: change the files'\'' owner.]:USER:_users' \
            '--upgrade-tarball[Replace this tarball installation.]:FILE:_files' \
            '--preserve-old-install[With it\: keep the old one and say where.]' \
            '--export-config[Write all files to a tar.gz; -\: stdout.]:FILE:_files' \
            '--import-config[Replace all files by those; -\: stdin.]:FILE:_files' \
            '--docker-create-custom-dockerfile[tar.gz to build an image.]:FILE:_files'
        return
    fi
    _arguments -s -C \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '(-q --quiet)'{-q,--quiet}'[No progress lines; errors stay.]' \
            '(-v --verbose)'{-v,--verbose}'[The whole report, file by file.]' \
            '(-H --health_check)'{-H,--health_check}'[The health in one line, then problems.]' \
            '--debug[Facts, if no answer comes.]' \
            '--stats-capture-interval[With --debug\: how often (1).]:SECONDS: ' \
            '--format[With -v\: "text" (default) or "json".]:FORMAT:(text json)' \
            '--no-fork[Stay in the foreground.]' \
            '--no-check-remote-server[Do not try the server first.]' \
            '(-p --pid-file)'{-p,--pid-file}'[If the configuration is unreadable.]:FILE:_files' \
            '--no-change-user[Stay the user that calls.]' \
        '1:command:->command' \
        '*::argument:->argument' && ret=0
    case $state in
    command)
        local -a commands=(
            'start:Start the agent.'
            'stop:Stop the running agent.'
            'status:Tell whether it runs; -v: all about it; -H: its health.'
            'restart:Stop it, if it runs, and start it.'
            'condrestart:Restart it, but only if it runs.'
            'version:Print the version.'
            'config:Edit the configuration (also scalyr-agent-2-config).'
            'reload:Have the running agent read its configuration.'
            'check:Examine all that the agent depends on; say what to do.'
            'dry-run:Print the events that would be sent for files.'
            'explain:Say what becomes of a file and why.'
            'positions:Say what is remembered of each log.'
            'monitors:List the monitors; with a name: all about one.'
            'monitor:Run one monitor alone and print its lines.'
        )
        _describe -t commands command commands && ret=0
        ;;
    argument)
        curcontext=${curcontext%:*:*}:scalyr-agent-2-$words[1]:
        case $words[1] in
        start)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '(-q --quiet)'{-q,--quiet}'[No progress lines; errors stay.]' \
            '--no-fork[Stay in the foreground.]' \
            '--no-check-remote-server[Do not try the server first.]' \
            '--ignore-positions[Forget how far files were sent.]' \
            '--no-change-user[Stay the user that calls.]'
            ;;
        stop)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '(-q --quiet)'{-q,--quiet}'[No progress lines; errors stay.]' \
            '(-p --pid-file)'{-p,--pid-file}'[If the configuration is unreadable.]:FILE:_files' \
            '--no-change-user[Stay the user that calls.]'
            ;;
        status)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '(-v --verbose)'{-v,--verbose}'[The whole report, file by file.]' \
            '--all[With -v\: every file and figure.]' \
            '(-H --health_check)'{-H,--health_check}'[The health in one line, then problems.]' \
            '--delivery[With -H or -v\: exit 2 if it is bad.]' \
            '--format[With -v\: "text" (default) or "json".]:FORMAT:(text json)' \
            '--debug[Facts, if no answer comes.]' \
            '--stats-capture-interval[With --debug\: how often (1).]:SECONDS: ' \
            '(-p --pid-file)'{-p,--pid-file}'[If the configuration is unreadable.]:FILE:_files' \
            '--no-change-user[Stay the user that calls.]'
            ;;
        restart)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '(-q --quiet)'{-q,--quiet}'[No progress lines; errors stay.]' \
            '--no-fork[Stay in the foreground.]' \
            '--no-check-remote-server[Do not try the server first.]' \
            '--ignore-positions[Forget how far files were sent.]' \
            '--no-change-user[Stay the user that calls.]'
            ;;
        condrestart)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '(-q --quiet)'{-q,--quiet}'[No progress lines; errors stay.]' \
            '--no-fork[Stay in the foreground.]' \
            '--no-check-remote-server[Do not try the server first.]' \
            '--ignore-positions[Forget how far files were sent.]' \
            '--no-change-user[Stay the user that calls.]'
            ;;
        version)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]'
            ;;
        config)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '--set-python[Only says that there is no Python here.]:PYTHON:(default python python2 python3)' \
            '--report-python-version[Likewise, with the version of Rust.]' \
            '--systemd-managed[Let systemd run it instead of init.d.]' \
            '--set-key-from-stdin[Set the API key to a line of stdin.]' \
            '--set-key[Set it to KEY, which ps and history show.]:KEY: ' \
            '--set-scalyr-server[Where to send to.]:URL: ' \
            '--set-server-host[This machine'\''s serverHost.]:NAME: ' \
            '--set-user[Run as USER\: change the files'\'' owner.]:USER:_users' \
            '--upgrade-tarball[Replace this tarball installation.]:FILE:_files' \
            '--preserve-old-install[With it\: keep the old one and say where.]' \
            '--export-config[Write all files to a tar.gz; -\: stdout.]:FILE:_files' \
            '--import-config[Replace all files by those; -\: stdin.]:FILE:_files' \
            '--docker-create-custom-dockerfile[tar.gz to build an image.]:FILE:_files'
            ;;
        reload)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '(-p --pid-file)'{-p,--pid-file}'[If the configuration is unreadable.]:FILE:_files' \
            '--no-change-user[Stay the user that calls.]'
            ;;
        check)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '--configuration-only[Examine the configuration files alone.]' \
            '(-q --quiet)'{-q,--quiet}'[Only warnings and failures.]' \
            '--no-change-user[Stay the user that calls.]'
            ;;
        dry-run)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '--from-checkpoint[Only what is not sent yet.]' \
            '--no-change-user[Stay the user that calls.]' \
            '*:a file:_files'
            ;;
        explain)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '--no-change-user[Stay the user that calls.]' \
            '1:a file:_files'
            ;;
        positions)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --config-file)'{-c,--config-file}'[The main configuration file.]:FILE:_files' \
            '--extra-config-dir[A second folder of *.json fragments.]:PATH:_files -/' \
            '--records[Record by record, with offsets.]' \
            '--no-change-user[Stay the user that calls.]' \
            '*: :_files'
            ;;
        monitors)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '1: :(apache_monitor garbage_monitor graphite_monitor journald_monitor linux_process_metrics linux_system_metrics mysql_monitor nginx_monitor openmetrics_monitor postgres_monitor redis_monitor shell_monitor snmp_monitor symlink_file_monitor syslog_monitor test_monitor tomcat_monitor url_monitor)'
            ;;
        monitor)
            _arguments -s \
            '(-h --help)'{-h,--help}'[Show this text.]' \
            '(-c --monitor-config)'{-c,--monitor-config}'[Its options, as an object.]:OPTIONS: ' \
            '(-s --monitor-sample-interval)'{-s,--monitor-sample-interval}'[Time between samples (5).]:SECONDS: ' \
            '(-p --monitor-path)'{-p,--monitor-path}'[A further folder of plug-ins.]:DIR:_files -/' \
            '--monitor-python-path[The same.]:DIR:_files -/' \
            '(-d --directory)'{-d,--directory}'[Where it writes files, if it does.]:DIR:_files -/' \
            '(-n --samples)'{-n,--samples}'[End after so many samples.]:NUMBER: ' \
            '1:run:(run)' '2:monitor:(apache_monitor garbage_monitor graphite_monitor journald_monitor linux_process_metrics linux_system_metrics mysql_monitor nginx_monitor openmetrics_monitor postgres_monitor redis_monitor shell_monitor snmp_monitor symlink_file_monitor syslog_monitor test_monitor tomcat_monitor url_monitor)'
            ;;
        esac && ret=0
        ;;
    esac
    return ret
}

# As a file in $fpath it is the function; otherwise it was sourced.
if [[ $funcstack[1] == _scalyr-agent-2 ]]; then
    _scalyr_agent_2 "$@"
else
    compdef _scalyr_agent_2 scalyr-agent-2 scalyr-agent-2-config
fi
