"""The base class of monitors, their configuration, and the declarations of their options."""

import hashlib
import os
import threading
import time
import traceback

from scalyr_agent import scalyr_logging
from scalyr_agent.config_util import convert_config_param, get_config_from_env
from scalyr_agent.configuration import BadConfiguration
from scalyr_agent.json_lib.objects import ArrayOfStrings, wrapped
from scalyr_agent.util import StoppableThread

# Shorter intervals are taken as this many seconds.
_SHORTEST = 0.1


class BadMonitorConfiguration(Exception):
    def __init__(self, message, field):
        super().__init__(message)
        self.field, self.message = field, message


class UnsupportedSystem(Exception):
    def __init__(self, monitor_name, message):
        super().__init__(message)
        self.monitor_name = monitor_name


class ConfigOption(object):
    """One declared option: an attribute for each argument of define_config_option."""

    def __init__(self, **declared):
        self.__dict__.update(declared)


class MonitorInformation(object):
    """What the modules have declared."""

    _all = {}

    def __init__(self, monitor_module):
        self.monitor_module = monitor_module
        self.description = None
        self._options = {}
        self.metrics = []
        self.log_fields = []

    @property
    def config_options(self):
        return list(self._options.values())

    def config_option(self, name):
        return self._options.get(name)

    @staticmethod
    def get_monitor_info(monitor_module):
        return MonitorInformation._all.get(monitor_module)

    @staticmethod
    def _of(monitor_module):
        known = MonitorInformation._all
        if monitor_module not in known:
            known[monitor_module] = MonitorInformation(monitor_module)
        return known[monitor_module]


def define_config_option(
    monitor_module,
    option_name,
    option_description,
    required_option=False,
    max_value=None,
    min_value=None,
    convert_to=None,
    default=None,
    env_aware=False,
    env_name=None,
    allow_http=True,
):
    """Declares an option: it is converted, checked and given its default before the monitor is made.
    A later declaration of the same name takes the place of an earlier one."""
    declared = dict(locals())
    info = MonitorInformation._of(declared.pop("monitor_module"))
    declared["description"] = declared.pop("option_description")
    info._options[option_name] = ConfigOption(**declared)


def define_metric(
    monitor_module,
    metric_name,
    description,
    extra_fields=None,
    unit=None,
    cumulative=False,
    category=None,
):
    """For documentation."""
    declared = dict(locals())
    MonitorInformation._of(declared.pop("monitor_module")).metrics.append(declared)


def define_log_field(monitor_module, field_name, field_description):
    """For documentation."""
    info = MonitorInformation._of(monitor_module)
    info.log_fields.append((field_name, field_description))


class MonitorConfig(object):
    """The options of one monitor; cannot be changed."""

    def __init__(self, content=None, monitor_module=None):
        self._map = {}
        self._module = monitor_module
        self._environment = {}
        for key in content or ():
            self._map[key] = content[key]
        info = MonitorInformation.get_monitor_info(monitor_module)
        for option in info.config_options if info else ():
            name = option.option_name
            if option.env_aware or option.env_name:
                variable = option.env_name or "SCALYR_%s" % name.upper()
                self._environment[name] = variable
                in_environment = (
                    variable.upper() in os.environ or variable.lower() in os.environ
                )
            else:
                in_environment = False
            if (
                option.required_option
                or option.default is not None
                or name in self._map
                or in_environment
            ):
                self._map[name] = self.get(
                    name,
                    required_field=option.required_option,
                    max_value=option.max_value,
                    min_value=option.min_value,
                    convert_to=option.convert_to,
                    default=option.default,
                    report_conflicting_environment_value=True,
                )

    def get(
        self,
        field,
        required_field=False,
        max_value=None,
        min_value=None,
        convert_to=None,
        default=None,
        report_conflicting_environment_value=False,
    ):
        """The option: of the entry, else of the environment, else `default`; converted and checked."""
        try:
            value = self._map.get(field)
            if value is not None:
                value = self._converted(field, value, convert_to)
            variable = self._environment.get(field)
            if variable and (value is None or report_conflicting_environment_value):
                logger = None
                if report_conflicting_environment_value:
                    logger = scalyr_logging.getLogger(__name__)
                other = get_config_from_env(
                    field,
                    variable,
                    convert_to=convert_to,
                    logger=logger,
                    param_val=value,
                    monitor_name=self._module,
                )
                value = other if value is None else value
            if value is None:
                if required_field:
                    why = 'Missing required field "%s"' % field
                    raise BadMonitorConfiguration(why, field)
                value = default
            if value is None:
                return None
            value = self._converted(field, value, convert_to)
        except BadConfiguration as error:
            raise BadMonitorConfiguration(error.message, error.field)
        for bound, exceeded, name in (
            (max_value, max_value is not None and value > max_value, "maximum"),
            (min_value, min_value is not None and value < min_value, "minimum"),
        ):
            if exceeded:
                raise BadMonitorConfiguration(
                    'Value of %s in field "%s" is invalid; %s is %s'
                    % (value, field, name, bound),
                    field,
                )
        return value

    @staticmethod
    def _converted(field, value, convert_to):
        if convert_to is None or isinstance(value, convert_to) and (
            convert_to is not int or not isinstance(value, bool)
        ):
            return value
        return convert_config_param(field, value, convert_to)

    def __len__(self):
        return len(self._map)

    def __iter__(self):
        return iter(self._map)

    def __contains__(self, key):
        return key in self._map

    def __getitem__(self, field):
        return self._map[field]

    def keys(self):
        return list(self._map)

    def values(self):
        return list(self._map.values())

    def items(self):
        return list(self._map.items())

    def iterkeys(self):
        return iter(self._map)

    def itervalues(self):
        return iter(self._map.values())

    def iteritems(self):
        return iter(self._map.items())

    def copy(self):
        return MonitorConfig(self._map, self._module)

    def __eq__(self, other):
        return isinstance(other, MonitorConfig) and self._map == other._map

    def __ne__(self, other):
        return not self == other

    __hash__ = None


def monitor_entry(hello):
    """The entry of the configuration that the agent's greeting describes."""
    entry = dict((key, wrapped(value)) for key, value in hello["options"].items())
    entry["module"] = hello["module"]
    if hello["id"]:
        entry["id"] = hello["id"]
    return entry


_COMMON_OPTIONS = (
    ("_metric_name_blacklist", "metric_name_blacklist", ArrayOfStrings, []),
    ("_calculate_rate_metric_name", "calculate_rate_metric_names", ArrayOfStrings, []),
    ("_log_flush_delay", "monitor_log_flush_delay", float, 0.0),
    ("_log_max_write_burst", "monitor_log_max_write_burst", int, 100000),
    ("_log_write_rate", "monitor_log_write_rate", int, 2000),
)


class ScalyrMonitor(StoppableThread):
    """A monitor: derived classes have `gather_sample`, or a `run` of their own."""

    DEFAULT_SAMPLE_INTERVAL_SECS = 30.0

    def __init__(
        self, monitor_config, logger, sample_interval_secs=None, global_config=None
    ):
        module = monitor_config["module"]
        short_name = module.rpartition(".")[2]
        StoppableThread.__init__(self, name=short_name)
        self._global_config, self._logger = global_config, logger
        self.raw_monitor_name = self.monitor_module_name = short_name
        given_id = monitor_config.get("id", "")
        self.monitor_id = str(given_id) if given_id else "default"
        identity = hashlib.sha256()
        identity.update(module.encode() + b":" + self.monitor_id.encode())
        self.short_hash = identity.hexdigest()[:10]
        self._config = MonitorConfig(monitor_config, monitor_module=module)
        component = getattr(logger, "component", "core")
        prefix = "monitor:"
        self.monitor_name = (
            component[len(prefix) :] if component.startswith(prefix) else component
        )
        self.disabled = False
        self.log_config = {"path": self.raw_monitor_name + ".log"}
        self._counter_lock = threading.Lock()
        self._reported_lines = 0
        self._errors = 0
        if sample_interval_secs is None:
            sample_interval_secs = self._config.get(
                "sample_interval",
                convert_to=float,
                default=self.DEFAULT_SAMPLE_INTERVAL_SECS,
            )
        self._sample_interval_secs = sample_interval_secs
        # The agent acts on these; a monitor may look at them.
        for attribute, option, kind, default in _COMMON_OPTIONS:
            value = self._config.get(option, convert_to=kind, default=default)
            setattr(self, attribute, value)
        self._adjust_sleep_by_gather_time = False
        self._uses_metric_log = False
        self._limits = (self._log_write_rate, self._log_max_write_burst)
        self._initialize()

    def _initialize(self):
        """For derived classes."""

    def gather_sample(self):
        """For derived classes."""

    def config_from_monitors(self, manager):
        """For derived classes."""

    def get_extra_server_attributes(self):
        return None

    def get_user_agent_fragment(self):
        return None

    def set_log_watcher(self, log_watcher):
        """For derived classes: what has logs copied that the monitor writes itself."""

    @property
    def uid(self):
        return "%s-%s" % (self._config["module"], self._config.get("id", default="default"))

    @property
    def module_name(self):
        return self._config["module"]

    def get_stop_agent_on_failure(self):
        return bool(self._config.get("stop_agent_on_failure", default=False))

    def get_calculate_rate_metric_names(self):
        return self._calculate_rate_metric_name

    def reported_lines(self):
        with self._counter_lock:
            return self._reported_lines

    def errors(self):
        with self._counter_lock:
            return self._errors

    def increment_counter(self, reported_lines=0, errors=0):
        with self._counter_lock:
            self._reported_lines += reported_lines
            self._errors += errors

    def set_sample_interval(self, secs):
        self._sample_interval_secs = secs

    def _get_log_rotation_configuration(self):
        """Backups and bytes: of the entry, else of the agent."""
        found = []
        for option, default in (
            ("log_rotation_backup_count", 2),
            ("log_rotation_max_bytes", 20 * 1024 * 1024),
        ):
            value = self._config.get(option)
            if value is None:
                value = getattr(self._global_config, option, default)
            found.append(int(value))
        return tuple(found)

    def open_metric_log(self):
        """A derived class that writes a log of its own does not call this."""
        self._logger.openMetricLogForMonitor(self.log_config.get("path"), self)
        self._uses_metric_log = True
        return True

    def close_metric_log(self):
        self._logger.closeMetricLog()

    def report_limits(self):
        """Says what of the wishes of the derived class the agent does not follow."""
        if self._limits != (self._log_write_rate, self._log_max_write_burst):
            self._logger.warning(
                "The monitor sets a write limit of its own; set monitor_log_write_rate: %s and monitor_log_max_write_burst: %s in its entry instead.",
                self._log_write_rate,
                self._log_max_write_burst,
            )

    def _get_initial_sleep_delay(self):
        return 0

    def _is_thread_stopped(self):
        return not self._run_state.is_running()

    def _sleep_but_awaken_if_stopped(self, time_to_sleep):
        return self._run_state.sleep_but_awaken_if_stopped(time_to_sleep)

    def run(self):
        """Samples at fixed ticks; those that pass while a sample is being taken are skipped."""
        delay = self._get_initial_sleep_delay()
        if delay >= 1:
            self._sleep_but_awaken_if_stopped(delay)
        tick = time.monotonic()
        while not self._is_thread_stopped():
            try:
                self.gather_sample()
                scalyr_logging._send({"sample": "ok"})
            except Exception:
                self.increment_counter(errors=1)
                scalyr_logging._send(
                    {"sample": "failed", "text": traceback.format_exc().strip()}
                )
            now = time.monotonic()
            interval = max(float(self._sample_interval_secs), _SHORTEST)
            tick += interval
            if tick < now:
                tick += ((now - tick) // interval + 1) * interval
            self._sleep_but_awaken_if_stopped(tick - now)


