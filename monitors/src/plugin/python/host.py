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
import types

# A monitor that was told to stop may take this many seconds if nobody is left to end the process.
PATIENCE = 5.0


class Wire(object):
    """Writes lines of the protocol, one at a time."""

    def __init__(self, fd):
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, line):
        data = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        # Bytes of file names that are no UTF-8 become question marks.
        data = memoryview(data.encode("utf-8", "replace") + b"\n")
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

    def create_module(self, spec):
        return Offered(spec.name)

    def is_package(self, name):
        # So that each module below one of them that is not here is asked for here as well.
        return True

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


class LogWatcher(object):
    """Has logs copied that the monitor writes itself, and knows what the agent understands of the
    configuration of a log."""

    KNOWN = ("path", "parser", "attributes")

    def __init__(self, send, log_dir, default, logger, wrapped):
        self._send, self._dir, self._default = send, log_dir, default
        self._logger, self._wrapped = logger, wrapped
        self._paths = set()

    def resolved(self, log_config):
        """With an absolute path and a parser, as the monitor may read it back."""
        config = dict(log_config.items())
        config["path"] = os.path.join(self._dir, config.get("path") or self._default)
        attributes = dict((config.get("attributes") or {}).items())
        parser = config.get("parser") or attributes.get("parser") or "agent-metrics"
        config["parser"] = attributes["parser"] = parser
        config["attributes"] = attributes
        return self._wrapped(config)

    def line(self, config):
        """What the agent is told of it."""
        unknown = sorted(str(key) for key in config.keys() if key not in self.KNOWN)
        if unknown:
            self._logger.warning(
                "A monitor cannot set %s for its log %s; an entry of `logs` with just this path can.",
                ", ".join(unknown),
                config["path"],
            )
        attributes = {}
        for key, value in config["attributes"].items():
            if isinstance(value, (str, bool, int, float)):
                attributes[str(key)] = value
            elif value is not None:
                to_dict = getattr(value, "to_dict", None)
                attributes[str(key)] = json.dumps(
                    to_dict() if to_dict else value, default=str
                )
        del attributes["parser"]
        line = {"path": config["path"], "parser": config["parser"]}
        if attributes:
            line["attributes"] = attributes
        return line

    def add_log_config(self, monitor_name, log_config, force_add=False):
        config = self.resolved(log_config)
        self._paths.add(config["path"])
        self._send({"follow": self.line(config)})
        return config

    def update_log_config(self, monitor_name, log_config):
        config = self.resolved(log_config)
        if config["path"] in self._paths:
            self._send({"follow": self.line(config)})

    def remove_log_path(self, monitor_name, log_path):
        self._paths.discard(log_path)
        self._send({"unfollow": log_path})

    # Lines that are in the file by then are copied in either case.
    schedule_log_path_for_removal = remove_log_path


class Offered(types.ModuleType):
    """A module of the host, which says so where something is missing."""

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            "%s.%s is not offered by the plug-in host" % (self.__name__, name)
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
    if isinstance(error, ImportError) and "cannot import name" in text:
        if str(error.name).partition(".")[0] == "scalyr_agent":
            text += "; it is not offered by the plug-in host"
    if isinstance(error, NameError) and "__monitor__" in text:
        text += "; write `__monitor__ = __name__` above the first line that uses it"
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if not frame.filename.startswith("<"):
            return "%s (%s, line %s)" % (text, frame.filename, frame.lineno)
    return text


def main():
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
    from scalyr_agent.json_lib.objects import wrapped
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
            "%s defines no class that is derived from ScalyrMonitor: write one that has gather_sample "
            "(monitors/contrib/file_age.py is an example); or, if it is a program of its own, make it "
            "executable: chmod 755" % bundle["path"],
        )
    logger = agent_logging.getLogger(hello["name"])
    logger.component = "monitor:" + hello["name"]
    named = getattr(module, "__monitor__", hello["module"])
    if named != hello["module"]:
        logger.warning(
            "What the plug-in declares for the monitor %s does not hold for %s; write `__monitor__ = __name__`.",
            named,
            hello["module"],
        )
    if found.gather_sample is ScalyrMonitor.gather_sample and found.run is ScalyrMonitor.run:
        logger.warning(
            "The class %s has neither gather_sample nor run: it writes nothing.", found.__name__
        )
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
        own_log = monitor.raw_monitor_name + ".log"
        watcher = LogWatcher(wire.send, hello["log_dir"], own_log, logger, wrapped)
        default = watcher.line(watcher.resolved({}))
        monitor.log_config = watcher.resolved(monitor.log_config)
        monitor.set_log_watcher(watcher)
        if not monitor.open_metric_log():
            fatal(wire, "the monitor could not open its log %s" % monitor.log_config["path"])
        wanted = watcher.line(monitor.log_config)
        if not monitor._uses_metric_log:
            wire.send({"follow": wanted})
        elif wanted != default:
            wire.send({"log_config": wanted})
        monitor.config_from_monitors(Manager(monitor))
        monitor.report_limits()
        monitor.start()
    except Exception as error:
        fatal(wire, "the plug-in cannot be started: %s" % why(error))
    listener = threading.Thread(target=watch, name="stdin")
    listener.daemon = True
    listener.start()
    threading.Thread.join(monitor)
    if stopping.is_set():
        sys.stderr.flush()
        os._exit(0)
    error = monitor.died_of()
    if error is None:
        fatal(wire, "the monitor's run() returned although it was not stopped")
    fatal(wire, "Monitor died: %s" % why(error))


main()
