#!/usr/bin/env python3
"""How many files a directory holds, and how large they are: runs all the time.

    {module: "directory_size", plugin_mode: "serve", paths: ["/var/spool/mail"]}

Writes directory_size.files and directory_size.bytes with the field `path`.
"""

import json
import os
import select
import sys


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def measure(path):
    """The regular files in it and below, links not followed."""
    files = size = 0
    for folder, _, names in os.walk(path, onerror=complain):
        for name in names:
            try:
                status = os.lstat(os.path.join(folder, name))
            except OSError:
                continue  # it has gone meanwhile
            files += 1
            size += status.st_size
    return files, size


def complain(error):
    say({"log": "warn", "text": "cannot look into a directory: %s" % error})


def main():
    told = json.loads(sys.stdin.readline())
    paths = told["options"].get("paths")
    if not isinstance(paths, list) or not paths:
        say({"fatal": "the option paths must be a list of directories"})
        return 1
    while True:
        for path in paths:
            files, size = measure(path)
            fields = {"path": path}
            say({"metric": "directory_size.files", "value": files, "fields": fields})
            say({"metric": "directory_size.bytes", "value": size, "fields": fields})
        # Sleeps until the next sample is due or the agent closes stdin, which means: end.
        if select.select([sys.stdin], [], [], told["sample_interval"])[0]:
            return 0


if __name__ == "__main__":
    sys.exit(main())
