"""A file that rotates."""

import os
import threading


class AutoFlushingRotatingFile(object):
    """A file with `.1`, `.2`, ... of earlier content; flushed `flush_delay` seconds after a write."""

    def __init__(self, filename, max_bytes=0, backup_count=0, flush_delay=0):
        self._name = filename
        self._most = max_bytes
        self._backups = backup_count
        self._delay = flush_delay
        self._lock = threading.RLock()
        self._timer = None
        self._file = None
        self._open()

    def _open(self):
        self._file = open(self._name, "ab")

    def write(self, message):
        data = message.encode("utf-8") if isinstance(message, str) else message
        with self._lock:
            if self._most > 0 and self._file.tell() + len(data) > self._most:
                self._rotate()
            self._file.write(data)
            if self._delay <= 0:
                self._file.flush()
            elif self._timer is None:
                self._timer = threading.Timer(self._delay, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def _rotate(self):
        self._file.close()
        for number in range(self._backups, 0, -1):
            source = "%s.%d" % (self._name, number - 1) if number > 1 else self._name
            if os.path.exists(source):
                os.replace(source, "%s.%d" % (self._name, number))
        self._open()

    def flush(self):
        with self._lock:
            self._timer = None
            if not self._file.closed:
                self._file.flush()

    def close(self):
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._file.close()
