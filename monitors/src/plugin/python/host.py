"""Runs one ScalyrMonitor in a process of its own.

`bundle` is the agent's first line on stdin: this program, the modules that plug-ins may import, and
where the plug-in is. Its second line is the greeting that every plug-in gets (docs/plugins.md); the
end of stdin is the request to end. Needs nothing but Python 3.6 and its standard library.
"""

import importlib
import importlib.abc
import importlib.util
import inspect
import json
import logging
import os
import sys
import threading
import time
import traceback

# So long a monitor that was told to stop may take if nobody is left to end the process.
PATIENCE = 5.0


class Wire(object):
    """Writes lines of the protocol, one at a time."""

    def __init__(self, fd):
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, line):
        data = json.dumps(line, ensure_ascii=True, separators=(",", ":"))
        data = memoryview(data.encode("ascii") + b"\n")
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except OSError:
                # The agent is gone.
                os._exit(0)


class Modules(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports from a table of sources."""

    def __init__(self, sources, closed=None):
        self._sources = sources
        # No other module of this package is looked for anywhere else.
        self._closed = closed

    def find_spec(self, name, path, target=None):
        if name in self._sources:
            return importlib.util.spec_from_loader(
                name, self, origin="plug-in host", is_package=self.is_package(name)
            )
        if (
            self._closed
            and name.startswith(self._closed + ".")
            and not name.startswith(self._closed + ".builtin_monitors.")
        ):
            raise ModuleNotFoundError(
                "%s is not among the modules that the plug-in host offers" % name,
                name=name,
            )
        return None

    def is_package(self, name):
        return any(other.startswith(name + ".") for other in self._sources) or (
            name in ("six", "scalyr_agent.builtin_monitors")
        )

    def get_source(self, name):
        return self._sources[name]

    def get_code(self, name):
        return compile(
            self._sources[name], "<plug-in host: %s>" % name, "exec", dont_inherit=True
        )


class GlobalConfig(object):
    """What a monitor may want to know of the agent's own configuration."""

    def __init__(self, hello):
        self.agent_data_path = hello["data_dir"]
        self.agent_log_path = hello["log_dir"]
        self.global_monitor_sample_interval = hello["sample_interval"]
        self.global_monitor_sample_interval_enable_jitter = False
        self.log_rotation_backup_count = 2
        self.log_rotation_max_bytes = 20 * 1024 * 1024
        self.additional_monitor_module_paths = os.pathsep.join(bundle["dirs"])

    def __getattr__(self, name):
        raise AttributeError(
            "the plug-in host does not know the global option %s" % name
        )


class Manager(object):
    """The other monitors, as one that asks for them in config_from_monitors sees them: none."""

    def __init__(self, monitor):
        self.monitors = [monitor]

    def find_monitor(self, module_name):
        named = (m for m in self.monitors if m.module_name == module_name)
        return next(named, None)


def private_streams():
    """The protocol's streams, out of the reach of the monitor and of what it starts: its prints go to
    stderr, its stdin is empty."""
    hello = sys.stdin.buffer.readline()
    own_in, own_out = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdin = open(0, "r", closefd=False)
    sys.stdout = open(1, "w", buffering=1, errors="backslashreplace", closefd=False)
    return hello, own_in, own_out


def load(path, name, dotted):
    """Imports the plug-in by its whole name from just this file."""
    parent = name.rpartition(".")[0]
    if dotted and parent:
        importlib.import_module(parent)
    places = [os.path.dirname(path)] if os.path.basename(path) == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=places
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def monitor_class(module, base):
    """The first class that is derived from ScalyrMonitor directly, else the first derived at all;
    one that is defined here before one that is imported."""
    classes = [
        value
        for value in list(vars(module).values())
        if inspect.isclass(value) and issubclass(value, base) and value is not base
    ]
    ranked = sorted(
        classes,
        key=lambda c: (c.__module__ != module.__name__, base not in c.__bases__),
    )
    return ranked[0] if ranked else None


def fatal(wire, text):
    wire.send({"fatal": text})
    sys.stderr.flush()
    os._exit(3)


def why(error):
    """The last line of a traceback and the place in the plug-in that it comes from."""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if not frame.filename.startswith("<"):
            return "%s (%s, line %s)" % (text, frame.filename, frame.lineno)
    return text


def main():
    if sys.version_info < (3, 6):
        sys.stdout.write(
            json.dumps(
                {
                    "fatal": "Python plug-ins need Python 3.6 or later; this is %s"
                    % sys.version.split()[0]
                }
            )
            + "\n"
        )
        sys.stdout.flush()
        os._exit(3)
    hello, own_in, own_out = private_streams()
    wire = Wire(own_out)
    try:
        hello = json.loads(hello.decode("utf-8"))
    except ValueError:
        # The agent has ended meanwhile.
        os._exit(0)

    ours = dict(bundle["modules"])
    spare = {"six": ours.pop("six"), "__scalyr__": ours["scalyr_agent.__scalyr__"]}
    sys.meta_path.insert(0, Modules(ours, closed="scalyr_agent"))
    # Used only where Python itself has none.
    sys.meta_path.append(Modules(spare))
    # The working directory is no place for modules.
    sys.path[:] = [entry for entry in sys.path if entry] + bundle["dirs"]

    import scalyr_agent.__scalyr__ as release

    release.SCALYR_VERSION = hello["agent_version"]
    import scalyr_agent.scalyr_logging as agent_logging
    from scalyr_agent.scalyr_monitor import (
        BadMonitorConfiguration,
        ScalyrMonitor,
        UnsupportedSystem,
        monitor_entry,
    )

    agent_logging.connect(wire.send, hello["name"])
    # A monitor that imports another one of the Python agent finds it among the plug-ins.
    builtin = importlib.import_module("scalyr_agent.builtin_monitors")
    builtin.__path__ = list(bundle["dirs"])
    ScalyrMonitor.DEFAULT_SAMPLE_INTERVAL_SECS = hello["sample_interval"]

    module = None
    try:
        module = load(bundle["path"], hello["module"], bundle["dotted"])
    except BaseException as error:
        fatal(wire, "the plug-in cannot be loaded: %s" % why(error))
    found = monitor_class(module, ScalyrMonitor)
    if found is None:
        fatal(
            wire,
            "%s defines no class that is derived from ScalyrMonitor" % bundle["path"],
        )
    logger = agent_logging.getLogger(hello["name"])
    logger.component = "monitor:" + hello["name"]
    monitor = None
    try:
        monitor = found(
            monitor_entry(hello), logger, global_config=GlobalConfig(hello)
        )
    except (BadMonitorConfiguration, UnsupportedSystem) as error:
        fatal(wire, "Invalid monitor configuration: %s" % error)
    except BaseException as error:
        fatal(wire, "the plug-in cannot be made: %s" % why(error))

    stopping = threading.Event()

    def watch():
        try:
            while os.read(own_in, 4096):
                pass
        except OSError:
            pass
        stopping.set()
        try:
            monitor.stop(wait_on_join=False)
        except Exception:
            logging.getLogger().exception("stop() failed")
        time.sleep(PATIENCE)
        os._exit(0)

    try:
        monitor.open_metric_log()
        monitor.config_from_monitors(Manager(monitor))
        monitor.report_log_config()
        monitor.start()
    except Exception as error:
        fatal(wire, "the plug-in cannot be started: %s" % why(error))
    watcher = threading.Thread(target=watch, name="stdin")
    watcher.daemon = True
    watcher.start()
    threading.Thread.join(monitor)
    if stopping.is_set():
        sys.stderr.flush()
        os._exit(0)
    error = monitor.died_of()
    if error is None:
        fatal(wire, "the monitor's run() returned although it was not stopped")
    fatal(wire, "Monitor died: %s" % why(error))


main()
