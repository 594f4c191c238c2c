"""JSON as configurations have it."""

from scalyr_agent.json_lib.exceptions import (
    JsonConversionException,
    JsonMissingFieldException,
    JsonParseException,
)
from scalyr_agent.json_lib.objects import (
    ArrayOfStrings,
    JsonArray,
    JsonObject,
    SpaceAndCommaSeparatedArrayOfStrings,
)
from scalyr_agent.json_lib.parser import parse

__all__ = [
    "ArrayOfStrings",
    "JsonArray",
    "JsonConversionException",
    "JsonMissingFieldException",
    "JsonObject",
    "JsonParseException",
    "SpaceAndCommaSeparatedArrayOfStrings",
    "parse",
]
