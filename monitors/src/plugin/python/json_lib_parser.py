"""Reads JSON, also with the liberties of configuration files: comments, names without quotes, commas
that are missing or left over, and text in pieces joined by `+`."""

import json
import re

from scalyr_agent.json_lib.exceptions import JsonParseException
from scalyr_agent.json_lib.objects import wrapped

_BLANK = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.S)
_NAME = re.compile(r"[A-Za-z_$][\w$]*")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORDS = {"true": True, "false": False, "null": None}
_TEXT = json.JSONDecoder(strict=False)
_DEEPEST = 100


def parse(text, check_duplicate_keys=False):
    """The value as JsonObject, JsonArray, text, number, bool or None."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    reader = _Reader(text, check_duplicate_keys)
    value = reader.value(0)
    reader.blank()
    if reader.at < len(text):
        raise reader.error("Text after the value")
    return wrapped(value)


class _Reader(object):
    def __init__(self, text, unique):
        self.text = text
        self.unique = unique
        self.at = 0

    def error(self, message):
        line = self.text.count("\n", 0, self.at) + 1
        return JsonParseException(message, self.at, line)

    def blank(self):
        self.at = _BLANK.match(self.text, self.at).end()

    def peek(self):
        self.blank()
        return self.text[self.at : self.at + 1]

    def value(self, depth):
        if depth > _DEEPEST:
            raise self.error("Nested too deeply")
        first = self.peek()
        if first == "{":
            return self.object(depth)
        if first == "[":
            return self.array(depth)
        if first == '"':
            value = self.string()
            while self.peek() == "+":
                self.at += 1
                if self.peek() != '"':
                    raise self.error("Expected a string after +")
                value += self.string()
            return value
        number = _NUMBER.match(self.text, self.at)
        if number:
            self.at = number.end()
            digits = number.group()
            return float(digits) if re.search("[.eE]", digits) else int(digits)
        word = _NAME.match(self.text, self.at)
        if word and word.group() in _WORDS:
            self.at = word.end()
            return _WORDS[word.group()]
        raise self.error("Expected a value")

    def string(self):
        if self.text.startswith('"""', self.at):
            end = self.text.find('"""', self.at + 3)
            if end < 0:
                raise self.error("String without an end")
            value = self.text[self.at + 3 : end]
            self.at = end + 3
            return value
        try:
            value, self.at = _TEXT.raw_decode(self.text, self.at)
        except ValueError as error:
            raise self.error("Bad string: %s" % error)
        return value

    def array(self, depth):
        self.at += 1
        items = []
        while True:
            first = self.peek()
            if first == "]":
                self.at += 1
                return items
            items.append(self.value(depth + 1))
            if self.peek() == ",":
                self.at += 1

    def object(self, depth):
        self.at += 1
        members = {}
        while True:
            first = self.peek()
            if first == "}":
                self.at += 1
                return members
            if first == '"':
                key = self.string()
            else:
                name = _NAME.match(self.text, self.at)
                if not name:
                    raise self.error("Expected a name")
                key = name.group()
                self.at = name.end()
            if self.peek() != ":":
                raise self.error("Expected a colon after a name")
            self.at += 1
            if self.unique and key in members:
                raise self.error('Name "%s" comes twice' % key)
            members[key] = self.value(depth + 1)
            if self.peek() == ",":
                self.at += 1
