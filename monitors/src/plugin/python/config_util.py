"""Options of one type where another is wanted."""

import os
import re

from scalyr_agent.configuration import BadConfiguration
from scalyr_agent.json_lib.exceptions import JsonParseException
from scalyr_agent.json_lib.objects import (
    ArrayOfStrings,
    JsonArray,
    JsonObject,
    SpaceAndCommaSeparatedArrayOfStrings,
)
from scalyr_agent.json_lib.parser import parse

_LISTS_OF_STRINGS = (ArrayOfStrings, SpaceAndCommaSeparatedArrayOfStrings)

# For every type the ones that it may become.
_ALLOWED = {
    str: (str, bool, int, float, JsonArray, JsonObject) + _LISTS_OF_STRINGS,
    bool: (bool, str),
    int: (int, float, str),
    float: (float, int, str),
    list: (list, str, JsonArray) + _LISTS_OF_STRINGS,
    JsonArray: (JsonArray, str) + _LISTS_OF_STRINGS,
    ArrayOfStrings: (str, JsonArray) + _LISTS_OF_STRINGS,
    SpaceAndCommaSeparatedArrayOfStrings: (str, JsonArray) + _LISTS_OF_STRINGS,
    JsonObject: (JsonObject, str),
}
# Floats are cut off to integers for historical reasons; texts of floats are not.


def parse_array_of_strings(text, separators=(",",)):
    """`a,b`, `'a','b'` or `["a", 'b']` as a list; empty items are dropped."""
    if text is None:
        return None
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    split = "|".join(r"\s+" if s is None else re.escape(s) for s in separators)
    items = []
    for item in re.split(split, text):
        item = item.strip()
        if len(item) > 1 and item[0] in "'\"" and item[-1] == item[0]:
            item = item[1:-1]
        if item:
            items.append(item)
    return ArrayOfStrings(items)


def convert_config_param(field, value, convert_to, is_environment_variable=False):
    """`value` as `convert_to`; BadConfiguration where that is not allowed or not possible."""
    kind = "environment variable for" if is_environment_variable else "option"
    have = type(value)
    if convert_to not in _ALLOWED.get(have, ()):
        raise BadConfiguration(
            "Prohibited conversion: the %s %s is of type %s, which is not taken for %s"
            % (kind, field, have.__name__, convert_to.__name__),
            field,
            "illegalConversion",
        )
    if have is convert_to:
        return value

    def impossible(code):
        return BadConfiguration(
            'Cannot convert %r of field "%s" to %s' % (value, field, convert_to.__name__),
            field,
            code,
        )

    if convert_to is str:
        return str(value)
    if convert_to is bool:
        return value.lower() == "true"
    if convert_to in (int, float):
        try:
            return convert_to(value)
        except (ValueError, OverflowError):
            raise impossible("notNumber")
    if convert_to in _LISTS_OF_STRINGS:
        if have is str:
            return convert_to(parse_array_of_strings(value, convert_to.separators))
        if not all(isinstance(item, str) for item in value):
            raise impossible("notArrayOfStrings")
        return convert_to(list(value))
    if have is not str:
        return JsonArray(*value)
    if convert_to is JsonObject and not value:
        return JsonObject()
    try:
        parsed = parse(value)
    except JsonParseException:
        parsed = None
    if not isinstance(parsed, convert_to):
        raise impossible("notJsonObject" if convert_to is JsonObject else "notJsonArray")
    return parsed


def get_config_from_env(
    param_name,
    custom_env_name=None,
    convert_to=None,
    logger=None,
    param_val=None,
    monitor_name=None,
):
    """The option's value in the environment, in upper or else in lower case; None without one."""
    name = (custom_env_name or "SCALYR_%s" % param_name).upper()
    text = os.environ.get(name)
    if text is None:
        name = name.lower()
        text = os.environ.get(name)
    if text is None or convert_to is None:
        return text
    value = convert_config_param(param_name, text, convert_to, True)
    if logger is not None and param_val is not None and param_val != value:
        logger.warning(
            "Option %s of monitor %s is set in the configuration file and otherwise in %s; the file wins.",
            param_name,
            monitor_name,
            name,
            limit_once_per_x_secs=300,
            limit_key="environment %s %s" % (monitor_name, param_name),
        )
    return value
