# shellcheck shell=sh
# Functions that the scripts of the deb and of the rpm share; `packaging/package` puts it before
# each of them. Rules: POSIX sh, every step may run twice, and nothing that the operator's
# configuration or a refused start causes may fail the transaction: it is said on stderr instead.

service=scalyr-agent-2
program=/usr/sbin/scalyr-agent-2
etc=/etc/scalyr-agent-2
init=/etc/init.d/scalyr-agent-2
logs=/var/log/scalyr-agent-2
data=/var/lib/scalyr-agent-2
share=/usr/share/scalyr-agent-2
# Notes from the script before unpacking to the one after it; gone with the next boot.
notes=/run/scalyr-agent-2.package
[ -d /run ] || notes=/var/run/scalyr-agent-2.package

say() { echo "scalyr-agent-2: $*" >&2; }

note() { mkdir -p "$notes" && : >"$notes/$1"; }
noted() { [ -e "$notes/$1" ]; }
forget() { rm -rf "$notes"; }

# Whether a daemon runs, however it was started: this program and the Python one answer alike.
running() { [ -x "$program" ] && "$program" status >/dev/null 2>&1; }

systemd_runs() { [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; }

# Whether this machine lets packages start services (Debian's policy-rc.d)
may_start() {
    [ -x /usr/sbin/policy-rc.d ] || return 0
    code=0
    /usr/sbin/policy-rc.d "$service" "$1" >/dev/null 2>&1 || code=$?
    [ "$code" != 101 ]
}

rc_links() { # KIND (S or K)
    for link in /etc/rc[2345].d/"$1"[0-9]*scalyr-agent-2 /etc/rc.d/rc[2345].d/"$1"[0-9]*scalyr-agent-2; do
        [ ! -L "$link" ] || return 0
    done
    return 1
}

# Whether dpkg still knows files of the Python agent's other package. It lists names that it has met in
# the fields of others too.
aio_is_left() {
    command -v dpkg-query >/dev/null 2>&1 || return 1
    # shellcheck disable=SC2016 # a field of dpkg's
    case $(dpkg-query -W -f '${db:Status-Status}' scalyr-agent-2-aio 2>/dev/null) in
    "" | not-installed) return 1 ;;
    esac
}

# dpkg takes a conflicting package out, and its script stops the agent, before anything of ours runs.
# Whether that happened to the Python agent's other package: its log then ends some moments ago.
stopped_for_us() {
    aio_is_left && [ -n "$(find "$logs/agent.log" -mmin -2 2>/dev/null)" ]
}

# Before unpacking. Noted is "first" if no version of this very package is installed.
remember() {
    if running; then note running; fi
    if [ -e "/usr/lib/systemd/system/$service.service" ] && command -v systemctl >/dev/null 2>&1; then
        if [ "$(systemctl is-enabled "$service.service" 2>/dev/null)" = disabled ]; then note disabled; fi
    elif rc_links K && ! rc_links S; then
        note disabled
    fi
    # The Python agent: packages of both of its names have this file, until they are taken out. Then
    # only its data is left.
    if [ -e "$share/py/scalyr_agent/agent_main.py" ]; then
        note takeover
    elif noted first && [ -e "$etc/agent.json" ]; then
        note takeover
    fi
    if noted first && noted takeover && stopped_for_us; then note running; fi
    # rpm gives a configuration file that nobody changed to root again, and sets owner and mode of
    # directories that exist. The running agent could not write its last checkpoint then.
    mkdir -p "$notes"
    if [ -e "$etc/agent.json" ]; then
        stat -L -c %u:%g "$etc/agent.json" >"$notes/owner" || rm -f "$notes/owner"
    fi
    for dir in "$logs" "$data"; do
        if [ -d "$dir" ]; then stat -L -c "%u:%g %a $dir" "$dir" || true; fi
    done >"$notes/directories"
}

# mode FILE NEW: sets the mode and says so, if it is another one
mode() {
    old=$(stat -c %a "$1" 2>/dev/null) || return 0
    [ "$old" != "$2" ] || return 0
    if chmod "$2" "$1"; then
        echo "$1: mode $old is now $2"
    else
        say "$1: mode $old can't be set to $2"
    fi
}

# Keys are nobody else's business. Fragments keep what owner and group may.
private() {
    old=$(stat -c %a "$1" 2>/dev/null) || return 0
    case $old in
    *0) ;;
    *) mode "$1" "${old%?}0" ;;
    esac
}

configure_files() {
    if [ ! -e "$etc/agent.json" ] && [ ! -L "$etc/agent.json" ]; then
        mkdir -p "$etc"
        (umask 077 && cp "$share/default/agent.json" "$etc/agent.json")
        chmod 0640 "$etc/agent.json"
    fi
    if [ -s "$notes/owner" ] && [ ! -L "$etc/agent.json" ]; then
        chown "$(cat "$notes/owner")" "$etc/agent.json" || say "$etc/agent.json: the owner is lost"
    fi
    private "$etc/agent.json"
    old=$(stat -c %a "$etc/agent.d" 2>/dev/null) || old=
    [ -z "$old" ] || mode "$etc/agent.d" "$(printf '%s' "$old" | sed 's/..$/51/')"
    find "$etc/agent.d" -name '*.json' -type f 2>/dev/null | while IFS= read -r file; do
        private "$file"
    done
    if [ -s "$notes/directories" ]; then
        while read -r owner old dir; do
            chown "$owner" "$dir" || say "$dir: the owner is lost"
            chmod "$old" "$dir" || say "$dir: the mode is lost"
        done <"$notes/directories"
    fi
    # The owner of the configuration runs the agent (`scalyr-agent-2-config --set-user`) and must be
    # able to write. Under systemd the unit sees to this too.
    owner=$(stat -L -c %u "$etc/agent.json" 2>/dev/null) || owner=0
    for dir in "$logs" "$data"; do
        if [ "$owner" != 0 ] && [ -d "$dir" ] && [ "$(stat -c %u "$dir")" != "$owner" ]; then
            chown -hR "$owner" "$dir" || say "$dir could not be given to user $owner"
        fi
    done
}

# Purging what is left of the Python agent's other package (-aio) deletes agent.json, which dpkg still
# counts as that package's. A trigger tells us (deb only), and the copy of the last installation comes
# back. The two files of the same name are never both there for long: see purge_files.
kept=$data/agent.json.kept
keep_configuration() {
    if aio_is_left && [ -f "$etc/agent.json" ]; then
        cp -p "$etc/agent.json" "$kept"
        say "scalyr-agent-2-aio is removed, not purged; purging it would delete $etc/agent.json: keep a copy of yours"
    else
        rm -f "$kept"
    fi
}
restore_configuration() {
    if [ ! -e "$etc/agent.json" ] && [ -f "$kept" ]; then
        mkdir -p "$etc"
        cp -p "$kept" "$etc/agent.json"
        say "$etc/agent.json was deleted with an old package; it is back as it was at the last installation"
    fi
}

# The user of the systemd unit. Without systemd there is no need for one.
make_user() {
    command -v systemctl >/dev/null 2>&1 || return 0
    if command -v systemd-sysusers >/dev/null 2>&1; then
        systemd-sysusers scalyr-agent-2.conf >/dev/null 2>&1 && return 0
    fi
    ! id -u scalyr-agent >/dev/null 2>&1 || return 0
    useradd --system --user-group --no-create-home --home-dir "$data" \
        --shell /usr/sbin/nologin --comment "Scalyr agent" scalyr-agent ||
        say "the user scalyr-agent could not be made; scalyr-agent-2.service needs it"
}

register() {
    if [ -e "$etc/systemd_managed" ]; then
        say "$etc/systemd_managed exists: the service is yours to register"
        if [ -e "/etc/systemd/system/$service.service" ]; then
            say "/etc/systemd/system/$service.service hides the unit of this package; remove it to use that"
        fi
    else
        if command -v chkconfig >/dev/null 2>&1; then
            chkconfig --add "$service" || say "chkconfig --add $service failed"
        elif command -v update-rc.d >/dev/null 2>&1; then
            update-rc.d "$service" defaults 98 02 >/dev/null || say "update-rc.d $service failed"
        elif [ -d /etc/rc2.d ]; then
            for level in 0 1 6; do ln -sf "../init.d/$service" "/etc/rc$level.d/K02$service"; done
            for level in 2 3 4 5; do ln -sf "../init.d/$service" "/etc/rc$level.d/S98$service"; done
        fi
        # Only once: whoever disables it later means it.
        if noted first || noted takeover; then
            if ! noted disabled && command -v systemctl >/dev/null 2>&1; then
                systemctl --quiet enable "$service.service" || say "systemctl enable $service failed"
            fi
        fi
    fi
    if systemd_runs; then systemctl daemon-reload || say "systemctl daemon-reload failed"; fi
}

deregister() {
    if command -v systemctl >/dev/null 2>&1; then
        systemctl --quiet disable "$service.service" >/dev/null 2>&1 || true
    fi
    if command -v chkconfig >/dev/null 2>&1; then
        chkconfig --del "$service" >/dev/null 2>&1 || true
    fi
    if command -v update-rc.d >/dev/null 2>&1; then
        # -f: the script is still there
        update-rc.d -f "$service" remove >/dev/null 2>&1 || true
    fi
    rm -f /etc/rc[0-6].d/[SK][0-9]*"$service"
}

# A configuration of the Python agent may ask for things that this agent does not do. Said once, when it
# is taken over.
tell_unused() {
    noted takeover || return 0
    told=$("$program" check --configuration-only -q -c "$etc/agent.json" 2>/dev/null) || :
    [ -z "$told" ] || say "this configuration is taken over, but for:
$told"
}

# Starts what ran before, and nothing else.
start_again() {
    ran=
    if running; then ran=yes; fi
    [ "$ran" ] || noted running || return 0
    if ! may_start restart; then
        say "policy-rc.d forbids starting services; the agent is not started again"
        return 0
    fi
    done=
    if systemd_runs; then
        systemctl stop "$service.service" >/dev/null 2>&1 || true
        # One that was started by hand, or by the Python package's init script
        if running; then "$program" stop >/dev/null 2>&1 || true; fi
        if systemctl start "$service.service"; then done=yes; fi
    else
        if [ "$ran" ]; then word=restart; else word=start; fi
        if "$init" "$word" >/dev/null; then done=yes; fi
    fi
    [ "$done" ] || say "the agent ran before and could not be started again: \`$program start\` says why"
}

stop_it() {
    if systemd_runs; then systemctl stop "$service.service" >/dev/null 2>&1 || true; fi
    if running; then
        "$program" stop >/dev/null 2>&1 || say "the running agent could not be stopped"
    fi
}

# Everything that belongs to the agent but not to the package, except the operator's plug-ins
purge_files() {
    # Another package of the agent (one with a name of the operator's own) has taken over
    [ ! -e "$program" ] || return 0
    rm -rf "$logs" "$data" "$etc" "/etc/systemd/system/$service.service.d"
    rm -f "/etc/systemd/system/$service.service" "/etc/default/$service" "/etc/sysconfig/$service"
    rmdir "$share/monitors/local" "$share/monitors/contrib" "$share/monitors" "$share" 2>/dev/null || true
}

# The way from a first installation to lines at the server. Upgrades, and those who bring a configuration with a
# key and a running agent, need none of it.
next_steps() {
    if ! noted first || noted takeover || running; then return 0; fi
    start="$init start"
    if systemd_runs; then start="systemctl start $service"; fi
    echo "$service is installed, and not started yet. The next steps:"
    if grep -qs '^[^/]*api_key: *"REPLACE_THIS"' "$etc/agent.json"; then
        echo "  1. Set the key:  $service-config --set-key-from-stdin"
        echo "     In the EU:    $service-config --set-scalyr-server \\"
        echo "                     https://upload.eu.scalyr.com"
        echo "  2. Name a log:   in \"logs\" of $etc/agent.json; it has samples"
        echo "  3. Start, check: $start; $service check"
    else
        echo "  Start, check: $start; $service check"
    fi
}
