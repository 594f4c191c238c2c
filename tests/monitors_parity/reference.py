"""What the operating system says of itself, as the metrics of linux_system_metrics.

An external collector for the Python agent's monitor, whose own collectors are not in its PyPI
package. It shares no code with either agent: it reads /proc with Python and runs df and nproc.
"""

import fnmatch
import os
import re
import subprocess
import time


def emit(metric, value, **tags):
    tags = "".join(" %s=%s" % item for item in tags.items())
    print("%s %d %s%s" % (metric, time.time(), value, tags))


def lines(path):
    with open(path) as file:
        return file.read().splitlines()


def kernel():
    total, idle = lines("/proc/uptime")[0].split()
    emit("proc.uptime.total", total)
    emit("proc.uptime.now", idle)
    for line in lines("/proc/meminfo"):
        match = re.fullmatch(r"(\w+):\s+(\d+)( kB)?", line)
        if match:
            emit("proc.meminfo." + match[1].lower(), match[2])
    wanted = "pgpgin pgpgout pswpin pswpout pgfault pgmajfault".split()
    for line in lines("/proc/vmstat"):
        key, number = line.split()
        if key in wanted:
            emit("proc.vmstat." + key, number)
    kinds = "user nice system idle iowait irq softirq steal guest".split()
    for line in lines("/proc/stat"):
        key, *numbers = line.split()
        if key == "cpu":
            for kind, number in zip(kinds, numbers):
                emit("proc.stat.cpu", number, type=kind)
        elif key in ("intr", "ctxt", "processes", "procs_blocked"):
            emit("proc.stat." + key, numbers[0])
    one, five, fifteen, threads, _ = lines("/proc/loadavg")[0].split()
    emit("proc.loadavg.1min", one)
    emit("proc.loadavg.5min", five)
    emit("proc.loadavg.15min", fifteen)
    emit("proc.loadavg.runnable", threads.split("/")[0])
    emit("proc.loadavg.total_threads", threads.split("/")[1])
    emit("proc.kernel.entropy_avail", lines("/proc/sys/kernel/random/entropy_avail")[0])
    emit("sys.cpu.count", subprocess.check_output(["nproc", "--all"], text=True).strip())
    nodes = "/sys/devices/system/node"
    for name in os.listdir(nodes) if os.path.isdir(nodes) else []:
        if re.fullmatch(r"node\d+", name):
            of = dict(line.split() for line in lines("%s/%s/numastat" % (nodes, name)))
            node = name[4:]
            emit("sys.numa.zoneallocs", of["numa_hit"], node=node, type="hit")
            emit("sys.numa.zoneallocs", of["numa_miss"], node=node, type="miss")
            emit("sys.numa.foreign_allocs", of["numa_foreign"], node=node)
            emit("sys.numa.allocation", of["local_node"], node=node, type="local")
            emit("sys.numa.allocation", of["other_node"], node=node, type="remote")
            emit("sys.numa.interleave", of["interleave_hit"], node=node, type="hit")


def network():
    for line in lines("/proc/net/dev")[2:]:
        name, numbers = line.split(":")
        numbers = numbers.split()
        if re.fullmatch("eth[0-9A-Z]+", name.strip()):
            for column, metric in enumerate(["bytes", "packets", "errs", "dropped"]):
                for direction, shift in ("in", 0), ("out", 8):
                    number = numbers[column + shift]
                    emit("proc.net." + metric, number, iface=name.strip(), direction=direction)
    of = {}
    for line in lines("/proc/net/sockstat"):
        protocol, rest = line.split(":")
        words = rest.split()
        of[protocol] = dict(zip(words[::2], words[1::2]))
    emit("net.sockstat.num_sockets", of["TCP"]["alloc"], type="tcp")
    emit("net.sockstat.num_timewait", of["TCP"]["tw"])
    for protocol in "TCP", "UDP", "UDPLITE", "RAW":
        if protocol in of:
            emit("net.sockstat.sockets_inuse", of[protocol]["inuse"], type=protocol.lower())
    emit("net.sockstat.num_orphans", of["TCP"]["orphan"])
    page = os.sysconf("SC_PAGE_SIZE")
    for protocol in "TCP", "UDP":
        if "mem" in of[protocol]:
            memory = int(of[protocol]["mem"]) * page
            emit("net.sockstat.memory", memory, type=protocol.lower())
    emit("net.sockstat.memory", of["FRAG"]["memory"], type="ipfrag")
    emit("net.sockstat.ipfragqueues", of["FRAG"]["inuse"])
    tables = [line.split() for line in lines("/proc/net/netstat")]
    tcp = {}
    for names, numbers in zip(tables[::2], tables[1::2]):
        if names[0] == "TcpExt:":
            tcp = dict(zip(names[1:], numbers[1:]))
    if "ListenDrops" in tcp:
        tcp["ListenDrops"] = int(tcp["ListenDrops"]) - int(tcp["ListenOverflows"])
    for row in TCP.split("\n"):
        if row.strip():
            key, metric, *field = row.split()
            if key in tcp:
                emit("net.stat.tcp." + metric, tcp[key], **dict(f.split("=") for f in field))


TCP = """
    SyncookiesSent syncookies type=sent
    SyncookiesRecv syncookies type=received
    SyncookiesFailed syncookies type=failed
    OfoPruned memory.prune type=drop_ofo_queue
    RcvPruned memory.prune type=drop_received
    DelayedACKs delayedack type=sent
    DelayedACKLocked delayedack type=locked
    DelayedACKLost delayedack type=lost
    ListenOverflows failed_accept reason=full_acceptq
    ListenDrops failed_accept reason=other
    TCPRenoRecovery packetloss.recovery type=fast_retransmit
    TCPSackRecovery packetloss.recovery type=sack
    TCPFACKReorder reording detectedby=fack
    TCPSACKReorder reording detectedby=sack
    TCPRenoReorder reording detectedby=fast_retransmit
    TCPTSReorder reording detectedby=timestamp
    TCPFullUndo congestion.recovery type=full_undo
    TCPPartialUndo congestion.recovery type=hoe_heuristic
    TCPDSACKUndo congestion.recovery type=sack
    TCPLossUndo congestion.recovery type=ack
    TCPAbortOnSyn abort type=unexpected_syn
    TCPAbortOnData abort type=data_after_fin_wait1
    TCPAbortOnClose abort type=data_after_close
    TCPAbortOnMemory abort type=out_of_memory
    TCPAbortOnTimeout abort type=timeout
    TCPAbortOnLinger abort type=linger
    TCPAbortFailed abort.failed
    TCPMemoryPressures memory.pressure
    TCPSACKDiscard invalid_sack type=invalid
    TCPDSACKIgnoredOld invalid_sack type=retransmit
    TCPDSACKIgnoredNoUndo invalid_sack type=olddup
    TCPBacklogDrop receive.queue.full
"""

DISK = """read_requests read_merged read_sectors msec_read write_requests write_merged
    write_sectors msec_write ios_in_progress msec_total msec_weighted_total""".split()


def disks():
    for line in lines("/proc/diskstats"):
        major, minor, name, *numbers = line.split()
        if numbers[0] == "0":
            continue
        whole = int(minor) % 16 == 0 and int(major) > 1
        for metric, number in zip(DISK, numbers):
            kind = "disk" if whole else "part"
            emit("iostat.%s.%s" % (kind, metric), number, dev=name.replace("/", "_"))


def filesystems():
    ignored = os.environ["TCOLLECTOR_IGNORE_MOUNTS"].split(",")
    for run, what in ("-PlTk", "1kblocks"), ("-PlTi", "inodes"):
        out = subprocess.run(["df", run], stdout=subprocess.PIPE, text=True).stdout
        for line in out.splitlines()[1:]:
            _, kind, total, used, free, _, mount = line.split()
            hidden = mount.startswith(("/dev/", "/lib/")) or mount == "/dev"
            hidden = hidden or kind in ("debugfs", "devtmpfs")
            if any(fnmatch.fnmatchcase(mount, p) for p in ignored) or (run == "-PlTk" and hidden):
                continue
            for metric, number in ("total", total), ("used", used), ("free", free):
                emit("df.%s.%s" % (what, metric), number, mount=mount, fstype=kind)


while True:
    kernel()
    network()
    disks()
    filesystems()
    emit("reference.own", "4.20", z="b", a="d~/x")
    print("reference.bad %d 5 a=b:c" % time.time())
    print("reference.end %d 1" % time.time(), flush=True)
    time.sleep(2)
