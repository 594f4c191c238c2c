# Completion for scalyr-agent-2 and scalyr-agent-2-config.
# Made by: cargo xtask

_scalyr_agent_2_words() {
    mapfile -t COMPREPLY < <(compgen "$@" -- "$cur")
}

_scalyr_agent_2_files() {
    compopt -o filenames 2>/dev/null
    _scalyr_agent_2_words "$@"
}

_scalyr_agent_2() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev='' command='' options='' at=1
    ((COMP_CWORD)) && prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    # --format=json is three words here
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    [[ ${COMP_WORDS[0]##*/} == scalyr-agent-2-config ]] && command=config
    while [[ -z $command ]] && ((at < COMP_CWORD)); do
        case ${COMP_WORDS[at]} in
        -c | --config-file | --extra-config-dir | --stats-capture-interval | --format | -p | --pid-file)
            [[ ${COMP_WORDS[at + 1]-} == = ]] && ((at++))
            ((at++))
            ;;
        -*) ;;
        *) command=${COMP_WORDS[at]} ;;
        esac
        ((at++))
    done
    case $command in
        start) options="-h --help -c --config-file --extra-config-dir -q --quiet --no-fork --no-check-remote-server --ignore-positions --no-change-user" ;;
        stop) options="-h --help -c --config-file --extra-config-dir -q --quiet -p --pid-file --no-change-user" ;;
        status) options="-h --help -c --config-file --extra-config-dir -v --verbose --all -H --health_check --delivery --format --debug --stats-capture-interval -p --pid-file --no-change-user" ;;
        restart) options="-h --help -c --config-file --extra-config-dir -q --quiet --no-fork --no-check-remote-server --ignore-positions --no-change-user" ;;
        condrestart) options="-h --help -c --config-file --extra-config-dir -q --quiet --no-fork --no-check-remote-server --ignore-positions --no-change-user" ;;
        version) options="-h --help" ;;
        config) options="-h --help -c --config-file --extra-config-dir --set-python --report-python-version --systemd-managed --set-key-from-stdin --set-key --set-scalyr-server --set-server-host --set-user --upgrade-tarball --preserve-old-install --export-config --import-config --docker-create-custom-dockerfile" ;;
        reload) options="-h --help -c --config-file --extra-config-dir -p --pid-file --no-change-user" ;;
        check) options="-h --help -c --config-file --extra-config-dir --configuration-only -q --quiet --no-change-user" ;;
        dry-run) options="-h --help -c --config-file --extra-config-dir --from-checkpoint --no-change-user" ;;
        explain) options="-h --help -c --config-file --extra-config-dir --no-change-user" ;;
        positions) options="-h --help -c --config-file --extra-config-dir --records --no-change-user" ;;
        monitors) options="-h --help" ;;
        monitor) options="-h --help -c --monitor-config -s --monitor-sample-interval -p --monitor-path --monitor-python-path -d --directory -n --samples" ;;
        "") options="-h --help -c --config-file --extra-config-dir -q --quiet -v --verbose -H --health_check --debug --stats-capture-interval --format --no-fork --no-check-remote-server -p --pid-file --no-change-user" ;;
    esac
    case $command:$prev in
        :-c | :--config-file)
            _scalyr_agent_2_files -f
            return
            ;;
        :--extra-config-dir)
            _scalyr_agent_2_files -d
            return
            ;;
        :--stats-capture-interval)
            :
            return
            ;;
        :--format)
            _scalyr_agent_2_words -W "text json"
            return
            ;;
        :-p | :--pid-file)
            _scalyr_agent_2_files -f
            return
            ;;
        start:-c | start:--config-file)
            _scalyr_agent_2_files -f
            return
            ;;
        start:--extra-config-dir)
            _scalyr_agent_2_files -d
            return
            ;;
        stop:-c | stop:--config-file)
            _scalyr_agent_2_files -f
            return
            ;;
        stop:--extra-config-dir)
            _scalyr_agent_2_files -d
            return
            ;;
        stop:-p | stop:--pid-file)
            _scalyr_agent_2_files -f
            return
            ;;
        status:-c | status:--config-file)
            _scalyr_agent_2_files -f
            return
            ;;
        status:--extra-config-dir)
            _scalyr_agent_2_files -d
            return
            ;;
        status:--format)
            _scalyr_agent_2_words -W "text json"
            return
            ;;
        status:--stats-capture-interval)
            :
            return
            ;;
        status:-p | status:--pid-file)
            _scalyr_agent_2_files -f
            return
            ;;
        restart:-c | restart:--config-file)
            _scalyr_agent_2_files -f
            return
            ;;
        restart:--extra-config-dir)
            _scalyr_agent_2_files -d
            return
            ;;
        condrestart:-c | condrestart:--config-file)
            _scalyr_agent_2_files -f
            return
            ;;
        condrestart:--extra-config-dir)
            _scalyr_agent_2_files -d
            return
            ;;
        config:-c | config:--config-file)
            _scalyr_agent_2_files -f
            return
            ;;
        config:--extra-config-dir)
            _scalyr_agent_2_files -d
            return
            ;;
        config:--set-python)
            _scalyr_agent_2_words -W "default python python2 python3"
            return
            ;;
        config:--set-key)
            :
            return
            ;;
        config:--set-scalyr-server)
            :
            return
            ;;
        config:--set-server-host)
            :
            return
            ;;
        config:--set-user)
            _scalyr_agent_2_words -u
            return
            ;;
        config:--upgrade-tarball)
            _scalyr_agent_2_files -f
            return
            ;;
        config:--export-config)
            _scalyr_agent_2_files -f
            return
            ;;
        config:--import-config)
            _scalyr_agent_2_files -f
            return
            ;;
        config:--docker-create-custom-dockerfile)
            _scalyr_agent_2_files -f
            return
            ;;
        reload:-c | reload:--config-file)
            _scalyr_agent_2_files -f
            return
            ;;
        reload:--extra-config-dir)
            _scalyr_agent_2_files -d
            return
            ;;
        reload:-p | reload:--pid-file)
            _scalyr_agent_2_files -f
            return
            ;;
        check:-c | check:--config-file)
            _scalyr_agent_2_files -f
            return
            ;;
        check:--extra-config-dir)
            _scalyr_agent_2_files -d
            return
            ;;
        dry-run:-c | dry-run:--config-file)
            _scalyr_agent_2_files -f
            return
            ;;
        dry-run:--extra-config-dir)
            _scalyr_agent_2_files -d
            return
            ;;
        explain:-c | explain:--config-file)
            _scalyr_agent_2_files -f
            return
            ;;
        explain:--extra-config-dir)
            _scalyr_agent_2_files -d
            return
            ;;
        positions:-c | positions:--config-file)
            _scalyr_agent_2_files -f
            return
            ;;
        positions:--extra-config-dir)
            _scalyr_agent_2_files -d
            return
            ;;
        monitor:-c | monitor:--monitor-config)
            :
            return
            ;;
        monitor:-s | monitor:--monitor-sample-interval)
            :
            return
            ;;
        monitor:-p | monitor:--monitor-path)
            _scalyr_agent_2_files -d
            return
            ;;
        monitor:--monitor-python-path)
            _scalyr_agent_2_files -d
            return
            ;;
        monitor:-d | monitor:--directory)
            _scalyr_agent_2_files -d
            return
            ;;
        monitor:-n | monitor:--samples)
            :
            return
            ;;
    esac
    if [[ $cur == -* ]]; then
        _scalyr_agent_2_words -W "$options"
        return
    fi
    case $command in
        "") _scalyr_agent_2_words -W "start stop status restart condrestart version config reload check dry-run explain positions monitors monitor" ;;
        dry-run) _scalyr_agent_2_files -f ;;
        explain) _scalyr_agent_2_files -f ;;
        positions) _scalyr_agent_2_files -f ;;
        monitors) _scalyr_agent_2_words -W "apache_monitor garbage_monitor graphite_monitor journald_monitor linux_process_metrics linux_system_metrics mysql_monitor nginx_monitor openmetrics_monitor postgres_monitor redis_monitor shell_monitor snmp_monitor symlink_file_monitor syslog_monitor test_monitor tomcat_monitor url_monitor" ;;
        monitor) _scalyr_agent_2_words -W "$([[ " ${COMP_WORDS[*]:0:COMP_CWORD} " == *' run '* ]] && echo 'apache_monitor garbage_monitor graphite_monitor journald_monitor linux_process_metrics linux_system_metrics mysql_monitor nginx_monitor openmetrics_monitor postgres_monitor redis_monitor shell_monitor snmp_monitor symlink_file_monitor syslog_monitor test_monitor tomcat_monitor url_monitor' || echo run)" ;;
    esac
}

complete -F _scalyr_agent_2 scalyr-agent-2 scalyr-agent-2-config
