#!/usr/bin/env python3
"""What two agents cost that do nothing but run their default monitors, side by side.

    monitors_cost.py SECONDS RECEIVER NAME=COMMAND [NAME=COMMAND ...]

RECEIVER is the test server (cargo build --package receiver); a COMMAND is what stands before
"-c FILE start", for example

    ours=target/x86_64-unknown-linux-musl/release/scalyr-agent-2
    python='venv/bin/python -m scalyr_agent.agent_main'

For each agent it prints the processor time of the seconds after the first 40, child processes that have
ended included, and memory, summed over its processes. Needs root and Linux control groups, version 1
(cpuacct) or 2.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

SETTLING = 40
PORT = 18099


class Group:
    """A control group: counts processor time also of processes that have ended."""

    def __init__(self, name):
        old = "/sys/fs/cgroup/cpuacct"
        self.usage = "cpuacct.usage" if os.path.isdir(old) else "cpu.stat"
        parent = old if os.path.isdir(old) else "/sys/fs/cgroup"
        self.path = f"{parent}/monitors-cost-{os.getpid()}-{name}"
        os.mkdir(self.path)

    def enter(self):
        with open(f"{self.path}/cgroup.procs", "w") as file:
            file.write("0")

    def seconds(self):
        with open(f"{self.path}/{self.usage}") as file:
            words = file.read().split()
        if self.usage == "cpuacct.usage":
            return int(words[0]) / 1e9
        return int(words[words.index("usage_usec") + 1]) / 1e6

    def memory(self):
        """Processes, resident kB, proportional kB."""
        sums = {"Rss:": 0, "Pss:": 0}
        with open(f"{self.path}/cgroup.procs") as file:
            pids = file.read().split()
        for pid in pids:
            try:
                with open(f"/proc/{pid}/smaps_rollup") as file:
                    for line in file:
                        words = line.split()
                        if words[0] in sums:
                            sums[words[0]] += int(words[1])
            except OSError:
                pass
        return len(pids), sums["Rss:"], sums["Pss:"]


def start(folder, name, command, group):
    home = f"{folder}/{name}"
    for part in ("log", "data", "conf"):
        os.makedirs(f"{home}/{part}")
    config = {
        "api_key": "key",
        "scalyr_server": f"http://127.0.0.1:{PORT}",
        "allow_http": True,
        "agent_log_path": f"{home}/log",
        "agent_data_path": f"{home}/data",
    }
    path = f"{home}/conf/agent.json"
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        json.dump(config, file)
    return subprocess.Popen(
        [*shlex.split(command), "-c", path, "start", "--no-fork", "--no-change-user"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=group.enter,
    )


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    seconds, receiver = int(sys.argv[1]), sys.argv[2]
    folder = tempfile.mkdtemp(prefix="monitors-cost-")
    running, groups = [], {}
    try:
        server = [receiver, "serve", "--listen", f"127.0.0.1:{PORT}", "--keep", "1000"]
        running.append(subprocess.Popen(server, stdout=subprocess.DEVNULL))
        time.sleep(1)
        for name, command in (pair.split("=", 1) for pair in sys.argv[3:]):
            groups[name] = Group(name)
            running.append(start(folder, name, command, groups[name]))
        time.sleep(SETTLING)
        before = {name: group.seconds() for name, group in groups.items()}
        time.sleep(seconds)
        for name, group in groups.items():
            used = group.seconds() - before[name]
            processes, resident, proportional = group.memory()
            print(
                f"{name}: {used:.4f} s of CPU in {seconds} s ({100 * used / seconds:.3f} %); "
                f"{processes} processes, {resident} kB resident, {proportional} kB proportional"
            )
        print("load", *os.getloadavg())
    finally:
        for process in reversed(running):
            process.terminate()
        for process in reversed(running):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        for group in groups.values():
            try:
                os.rmdir(group.path)
            except OSError:
                pass
        shutil.rmtree(folder, ignore_errors=True)


main()
