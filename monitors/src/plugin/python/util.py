"""What monitors use of the Python agent's odds and ends."""

import base64
import datetime
import glob
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid

from scalyr_agent.json_lib.exceptions import JsonParseException
from scalyr_agent.json_lib.objects import convert_to_builtin_type
from scalyr_agent.json_lib.parser import parse


class RunState(object):
    """Whether something should go on running."""

    def __init__(self, fake_clock=None):
        self._condition = threading.Condition()
        self._running = True
        self._callbacks = []

    def is_running(self):
        with self._condition:
            return self._running

    def sleep_but_awaken_if_stopped(self, timeout):
        """True if it was stopped before or meanwhile."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._condition:
            while self._running:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                # Longer waits overflow in C.
                self._condition.wait(None if left is None else min(left, 1e6))
            return not self._running

    def stop(self):
        with self._condition:
            callbacks, self._callbacks = self._callbacks, []
            self._running = False
            self._condition.notify_all()
        for callback in callbacks:
            callback()

    def register_on_stop_callback(self, callback):
        """Called at once if it is stopped already."""
        with self._condition:
            if self._running:
                self._callbacks.append(callback)
                return
        callback()

    def remove_on_stop_callback(self, callback):
        with self._condition:
            if callback in self._callbacks:
                self._callbacks.remove(callback)


class FakeRunState(RunState):
    """For tests of monitors: counts sleeps instead of sleeping."""

    def __init__(self):
        RunState.__init__(self)
        self.total_times_slept = 0

    def sleep_but_awaken_if_stopped(self, timeout):
        self.total_times_slept += 1
        return not self.is_running()


class StoppableThread(threading.Thread):
    """A thread with a RunState. Its work is `run`, `run_and_propagate`, or `target(run_state)`; what
    the latter two raise is raised again by `join`."""

    def __init__(self, name=None, target=None, fake_clock=None, is_daemon=False):
        threading.Thread.__init__(self, name=name)
        self.daemon = is_daemon
        self._work = target
        self._run_state = RunState()
        self._died_of = None

    def run(self):
        if self._work is None:
            return self.run_and_propagate()
        return self._work(self._run_state)

    def run_and_propagate(self):
        """For derived classes."""

    def start(self):
        # Also a `run` of a derived class is to be heard of when it fails.
        work = self.run

        def guarded():
            try:
                work()
            except Exception as error:
                self._died_of = error

        self.run = guarded
        threading.Thread.start(self)

    def died_of(self):
        return self._died_of

    def _prepare_to_stop(self):
        """For derived classes."""

    def stop(self, wait_on_join=True, join_timeout=5):
        run_state, wait = self._run_state, wait_on_join
        run_state.stop()
        self._prepare_to_stop()
        return self.join(join_timeout) if wait else None

    def is_running(self):
        """Whether nobody has told it to stop; it may have ended by itself."""
        run_state = self._run_state
        return run_state.is_running()

    def isAlive(self):
        return self.is_alive()

    def join(self, timeout=None):
        threading.Thread.join(self, timeout)
        if not self.is_alive() and self._died_of is not None:
            raise self._died_of


class RateLimiter(object):
    """A bucket of bytes."""

    def __init__(self, bucket_size, bucket_fill_rate, current_time=None):
        now = time.time() if current_time is None else current_time
        self._size, self._rate = bucket_size, bucket_fill_rate
        # It starts full.
        self._contents, self._last = bucket_size, now

    def charge_if_available(self, num_bytes, current_time=None):
        if self._wait(num_bytes, current_time) > 0.0:
            return False
        self._contents -= num_bytes
        return True

    def block_until_charge_succeeds(self, num_bytes, current_time=None):
        """The seconds that it slept."""
        if self._rate <= 0.0:
            raise ValueError("a bucket that nothing flows into would be waited for in vain")
        seconds = self._wait(num_bytes, current_time)
        if seconds > 0.0:
            time.sleep(seconds)
        self._contents -= num_bytes
        return seconds

    def _wait(self, num_bytes, now):
        now = time.time() if now is None else now
        gained = (now - self._last) * self._rate
        self._contents = min(self._size, self._contents + gained)
        self._last = now
        if num_bytes <= self._contents:
            return 0.0
        if self._rate == 0:
            return float("inf")
        return (num_bytes - self._contents) / self._rate


class JsonReadFileException(Exception):
    def __init__(self, file_path, message):
        super().__init__("%s: %s" % (file_path, message))
        self.raw_message, self.file_path = message, file_path


def _builtin(value):
    return convert_to_builtin_type(value)


def json_encode(obj, output=None, binary=False):
    text = json.dumps(obj, default=_builtin, ensure_ascii=False, separators=(",", ":"))
    data = text.encode("utf-8") if binary else text
    if output is None:
        return data
    output.write(data)
    return None


def json_decode(text):
    return json.loads(text)


def json_scalyr_config_decode(text):
    return parse(text)


def _read(file_path, decode):
    try:
        with open(file_path, "rb") as source:
            text = source.read().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JsonReadFileException(file_path, str(error))
    try:
        return decode(text)
    except (ValueError, JsonParseException) as error:
        raise JsonReadFileException(file_path, "no JSON: %s" % error)


def read_file_as_json(file_path, strict_utf8=False):
    return _read(file_path, json.loads)


def read_config_file_as_json(file_path):
    return _read(file_path, parse)


def atomic_write_dict_as_json_file(file_path, tmp_path, info):
    """Never leaves half a file."""
    with open(tmp_path, "wb") as target:
        target.write(json_encode(info, binary=True))
        target.flush()
        os.fsync(target.fileno())
    os.replace(tmp_path, file_path)


def value_to_bool(value):
    if isinstance(value, bool):
        return value
    if value is None:
        return False
    if isinstance(value, (int, float)) and value in (0, 1):
        return value == 1
    if isinstance(value, str):
        return value not in ("", "f") and value.lower() != "false"
    raise ValueError("%r is neither true nor false" % (value,))


def create_unique_id():
    return base64.urlsafe_b64encode(uuid.uuid1().bytes).decode("ascii")


def create_uuid3(namespace, name):
    return uuid.uuid3(namespace, name)


def md5_hexdigest(data):
    if not isinstance(data, bytes):
        data = data.encode("utf-8")
    return hashlib.md5(data).hexdigest()


def remove_newlines_and_truncate(input_string, char_limit):
    if isinstance(input_string, bytes):
        input_string = input_string.decode("utf-8")
    return input_string[:char_limit].replace("\n", " ").replace("\r", " ")


def microseconds_since_epoch(date_time, epoch=None):
    passed = date_time - (epoch or datetime.datetime(1970, 1, 1))
    return passed // datetime.timedelta(microseconds=1)


def seconds_since_epoch(date_time, epoch=None):
    return microseconds_since_epoch(date_time, epoch) / 1e6


def format_time(time_value):
    if time_value is None:
        return "Never"
    return "%s UTC" % time.asctime(time.gmtime(time_value))


def get_pid_tid():
    return "(pid=%s) (tid=%s)" % (os.getpid(), threading.get_ident())


def is_list_of_strings(vals):
    try:
        return all(isinstance(value, str) for value in vals)
    except TypeError:
        return False


def match_glob(pathname):
    """Paths that match, `**` for any depth."""
    return glob.glob(pathname, recursive=True)


def get_parser_from_config(base_config, attributes, default_parser):
    inner = base_config.get("attributes", None) or {}
    for place in (inner, base_config, attributes):
        if "parser" in place:
            return place["parser"]
    return default_parser


def run_command_popen(args, shell=False, log_errors=False, logger_func=None):
    """Exit status, stdout, stderr."""
    process = subprocess.Popen(
        args,
        shell=shell,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = (data.decode("utf-8", "replace") for data in process.communicate())
    if process.returncode != 0 and log_errors:
        (logger_func or sys.stderr.write)(
            "Command %s ended with status %s.\nStdout: %s\nStderr: %s\n"
            % (args, process.returncode, out, err)
        )
    return process.returncode, out, err
