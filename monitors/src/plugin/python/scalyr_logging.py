"""Loggers whose lines go into agent.log and whose values go into the monitor's log."""

import logging
import logging.handlers
import math
import re
import threading
import time

# Level 1 is that of `logging`; the finer ones lie below it.
DEBUG_LEVEL_0, DEBUG_LEVEL_1 = logging.INFO, logging.DEBUG
DEBUG_LEVEL_2, DEBUG_LEVEL_3, DEBUG_LEVEL_4, DEBUG_LEVEL_5 = range(7, 3, -1)

# How many different limited messages are remembered.
_MOST_LIMITS = 1000

_send = None


class BadMetricOrFieldName(Exception):
    def __init__(self, metric_or_field_name):
        Exception.__init__(
            self, "%r is no name of a metric or a field" % (metric_or_field_name,)
        )


_NAMED_IN_ERRORS = ("metric_name", "metric_value", "field_name", "field_value")


class UnsupportedValueType(Exception):
    """A name that is no text, or a value that is no text, number or truth value."""

    def __init__(
        self, metric_name=None, metric_value=None, field_name=None, field_value=None
    ):
        given = locals()
        for attribute in _NAMED_IN_ERRORS:
            setattr(self, attribute, given[attribute])
        if field_name is not None:
            what, wrong = "value of the field %r of" % (field_name,), field_value
        elif metric_value is not None:
            what, wrong = "value of", metric_value
        else:
            what, wrong = "name for", metric_name
        super().__init__(
            "Unsupported type %s as %s the metric %r"
            % (type(wrong).__name__, what, metric_name)
        )


def _scalar(value):
    """As the protocol wants it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**64:
            return {"number": str(int(value))}
        return int(value)
    return value


# Arguments of a logger's methods beyond those of `logging`; the last four are accepted and ignored.
_SPECIAL = frozenset(
    "limit_once_per_x_secs limit_key current_time error_code emit_to_metric_log "
    "metric_log_for_monitor monitor_id_override error_for_monitor force_stdout "
    "force_stderr timestamp".split()
)


class AgentLogger(logging.Logger):
    """logging.Logger with values, error codes and messages that are limited by time."""

    def __init__(self, name, level=logging.NOTSET):
        logging.Logger.__init__(self, name, level)
        self.component = "core"
        self._said = {}
        self._said_lock = threading.Lock()
        self._monitor = None

    def emit_value(
        self,
        metric_name,
        metric_value,
        extra_fields=None,
        monitor=None,
        monitor_id_override=None,
        timestamp=None,
    ):
        if not isinstance(metric_name, str):
            raise UnsupportedValueType(metric_name=metric_name)
        if not isinstance(metric_value, (str, bool, int, float)):
            raise UnsupportedValueType(metric_name, _named(metric_value))
        line = {"metric": metric_name, "value": _scalar(metric_value)}
        if extra_fields:
            fields = {}
            for name, value in extra_fields.items():
                if not isinstance(name, str):
                    raise BadMetricOrFieldName(name)
                if not isinstance(value, (str, bool, int, float)):
                    raise UnsupportedValueType(metric_name, metric_value, name, value)
                fields[name] = _scalar(value)
            line["fields"] = fields
        if timestamp is not None:
            line["timestamp"] = int(timestamp)
        if monitor_id_override is not None:
            line["id"] = str(monitor_id_override)
        _send(line)
        monitor = monitor or self._monitor
        if monitor is not None:
            monitor.increment_counter(reported_lines=1)

    def emit_values(self, values, monitor=None):
        """One line of free text with all of them; emit_value has taken its place."""
        parts = []
        for name in values:
            value = values[name]
            if isinstance(value, bool):
                text = "true" if value else "false"
            elif isinstance(value, (int, float)):
                text = str(value)
            elif isinstance(value, str):
                text = '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"')
            else:
                raise UnsupportedValueType(name, _named(value))
            parts.append("%s=%s" % (name, text))
        _send({"message": " ".join(parts)})

    report_values = emit_values

    @staticmethod
    def force_valid_metric_or_field_name(name, is_metric=True, logger=None):
        """As the agent writes it; the agent itself does it again."""
        name = re.sub(r"[^\w.-]", "_", name)
        return name if re.match(r"[A-Za-z_]", name) else "sa_" + name

    def openMetricLogForMonitor(self, path, monitor, **_):
        self._monitor = monitor

    def closeMetricLog(self):
        self._monitor = None

    # logging.Logger has lost it in some versions.
    def warn(self, msg, *args, **kwargs):
        self.warning(msg, *args, **kwargs)

    def _log(
        self,
        level,
        msg,
        args,
        exc_info=None,
        extra=None,
        stack_info=False,
        stacklevel=1,
        **special
    ):
        unknown = set(special) - _SPECIAL
        if unknown:
            raise TypeError("no logger knows %s" % ", ".join(sorted(unknown)))
        period, key = special.get("limit_once_per_x_secs"), special.get("limit_key")
        if period is not None:
            if key is None:
                raise ValueError("a limit_once_per_x_secs comes with a limit_key")
            if not self._may_say(key, period, special.get("current_time")):
                return
        extra = dict(extra or {})
        extra["agent_error_code"] = special.get("error_code")
        extra["agent_id"] = special.get("monitor_id_override")
        extra["agent_metric_log"] = bool(
            special.get("emit_to_metric_log")
            or special.get("metric_log_for_monitor") is not None
        )
        logging.Logger._log(
            self, level, msg, args, exc_info=exc_info, extra=extra, stack_info=stack_info
        )

    def _may_say(self, key, seconds, now):
        now = time.time() if now is None else now
        with self._said_lock:
            last = self._said.get(key)
            # A clock that was set back must not silence it.
            if last is not None and 0 <= now - last < seconds:
                return False
            if len(self._said) >= _MOST_LIMITS:
                self._said.clear()
            self._said[key] = now
            return True


def _named(value):
    """None is the mark of "not given" in UnsupportedValueType."""
    return type(value) if value is None else value


class _Handler(logging.Handler):
    def emit(self, record):
        try:
            text = record.getMessage()
            if record.exc_info:
                trace = logging.Formatter().formatException(record.exc_info)
                text += " :stack_trace:\n" + trace
        except Exception as error:
            text = "%s (cannot be formatted: %s)" % (record.msg, error)
        code = getattr(record, "agent_error_code", None)
        if code:
            text = '[error="%s"] %s' % (code, text)
        other_id = getattr(record, "agent_id", None)
        if getattr(record, "agent_metric_log", False):
            line = {"message": text}
            if other_id is not None:
                line["id"] = str(other_id)
            _send(line)
            return
        if other_id is not None:
            text = "(%s) %s" % (other_id, text)
        if record.levelno >= logging.ERROR:
            _send({"log": "error", "text": text})
        elif record.levelno >= logging.WARNING:
            _send({"log": "warn", "text": text})
        elif record.levelno >= logging.INFO:
            _send({"log": "info", "text": text})
        else:
            _send({"log": "debug", "text": text})


def connect(send, name):
    """`send` takes the lines of all loggers from now on."""
    global _send
    _send = send
    root = logging.getLogger()
    root.handlers[:] = [_Handler()]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)


_loggers = {}
_loggers_lock = threading.Lock()


def getLogger(name):
    """The AgentLogger of that name; it is not among those of `logging`, so that its kind does not
    depend on who asked for it first."""
    with _loggers_lock:
        logger = _loggers.get(name)
        if logger is None:
            logger = _loggers[name] = AgentLogger(name)
            logger.parent = logging.getLogger()
            logger.manager = logging.Logger.manager
        return logger


class LazyOnPrintEvaluatedFunction(object):
    """A text that is made when it is written, if it is."""

    def __init__(self, func):
        self._make = func

    def __str__(self):
        return str(self._make())


class AutoFlushingRotatingFileHandler(logging.handlers.RotatingFileHandler):
    """A rotating log that is written `flushDelay` seconds after a line at the latest."""

    def __init__(
        self,
        filename,
        mode="a",
        maxBytes=0,
        backupCount=0,
        encoding=None,
        delay=0,
        flushDelay=0,
    ):
        self._wait, self._timer = flushDelay, None
        logging.handlers.RotatingFileHandler.__init__(
            self, filename, mode, maxBytes, backupCount, encoding, delay
        )

    def set_flush_delay(self, flush_delay):
        self._wait = flush_delay

    def flush(self):
        """Each record asks for it."""
        if self._wait <= 0:
            return logging.handlers.RotatingFileHandler.flush(self)
        with self.lock:
            if self._timer is None:
                self._timer = threading.Timer(self._wait, self._flush_now)
                self._timer.daemon = True
                self._timer.start()

    def _flush_now(self):
        with self.lock:
            self._timer = None
            if self.stream is not None and not self.stream.closed:
                logging.handlers.RotatingFileHandler.flush(self)

    def close(self):
        self._wait = 0
        with self.lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        logging.handlers.RotatingFileHandler.close(self)


class BaseFormatter(logging.Formatter):
    """UTC with milliseconds, as the agent's logs have it."""

    def __init__(self, fmt, format_name):
        super().__init__(fmt)
        self.format_name = format_name

    def formatTime(self, record, datefmt=None):
        seconds = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        return "%s.%03dZ" % (seconds, record.msecs)
