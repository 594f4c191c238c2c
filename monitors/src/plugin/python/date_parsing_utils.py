"""RFC 3339 times, with nine digits of fraction or fewer."""

import calendar
import datetime
import re

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[-+]\d\d:?\d\d)?$"
)


def UTC():
    """Used to be a class of its own; Python has had the zone for long."""
    return datetime.timezone.utc


def _parts(text):
    """Seconds since the epoch and nanoseconds; None if it is no such time."""
    match = _FORM.match(text.strip())
    if not match:
        return None
    try:
        moment = datetime.datetime(*[int(part) for part in match.groups()[:6]])
    except ValueError:
        return None
    seconds = calendar.timegm(moment.timetuple())
    zone = match.group(8)
    if zone and zone not in "Zz":
        offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        seconds -= offset if zone[0] == "+" else -offset
    nanos = int((match.group(7) or "0")[:9].ljust(9, "0"))
    return seconds, nanos


def rfc3339_to_nanoseconds_since_epoch(string):
    parts = _parts(string)
    return None if parts is None else parts[0] * 10**9 + parts[1]


def rfc3339_to_datetime(string):
    """In UTC, without a zone, to the microsecond."""
    parts = _parts(string)
    if parts is None:
        return None
    epoch = datetime.datetime(1970, 1, 1)
    return epoch + datetime.timedelta(seconds=parts[0], microseconds=parts[1] // 1000)
