"""Objects and arrays of JSON."""

from scalyr_agent.json_lib.exceptions import (
    JsonConversionException,
    JsonMissingFieldException,
)


def wrapped(value):
    """Plain dicts and lists, and those within, as JsonObject and JsonArray."""
    if isinstance(value, dict):
        return JsonObject(dict((key, wrapped(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return JsonArray(*[wrapped(item) for item in value])
    return value


def convert_to_builtin_type(value):
    """The opposite of `wrapped`."""
    if isinstance(value, JsonObject):
        return value.to_dict()
    if isinstance(value, (JsonArray, list, tuple)):
        return [convert_to_builtin_type(item) for item in value]
    if isinstance(value, dict):
        return dict((k, convert_to_builtin_type(item)) for k, item in value.items())
    return value


class JsonObject(object):
    """A dict whose getters check and convert.

    Getters of a field that is not there give `default_value`, or None if `none_if_missing`, or raise
    JsonMissingFieldException.
    """

    def __init__(self, content=None, **key_values):
        self._map = {} if content is None else content
        self._map.update(key_values)

    def __repr__(self):
        return repr(self._map)

    def __len__(self):
        return len(self._map)

    def __iter__(self):
        return iter(self._map)

    def __contains__(self, key):
        return key in self._map

    def __eq__(self, other):
        if isinstance(other, JsonObject):
            return self._map == other._map
        return isinstance(other, dict) and self.to_dict() == other

    def __ne__(self, other):
        return not self == other

    __hash__ = None

    def __getitem__(self, field):
        if field not in self._map:
            raise JsonMissingFieldException('The object has no field "%s"' % field)
        return self._map[field]

    def __setitem__(self, key, value):
        self._map[key] = value

    def __delitem__(self, key):
        del self._map[key]

    def put(self, key, value):
        """Sets the field, or removes it if `value` is None."""
        if value is None:
            self._map.pop(key, None)
        else:
            self._map[key] = value
        return self

    def update(self, other):
        for key in other:
            self._map[key] = other[key]

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
        return JsonObject(dict(self._map))

    def to_dict(self):
        return dict((k, convert_to_builtin_type(v)) for k, v in self._map.items())

    def get(self, field, default_value=None, none_if_missing=False):
        return self._get(field, default_value, none_if_missing, lambda value: value)

    def get_bool(self, field, default_value=None, none_if_missing=False):
        def convert(value):
            if isinstance(value, bool):
                return value
            if isinstance(value, (int, float)) and value in (0, 1):
                return value == 1
            if isinstance(value, str):
                return value not in ("", "f", "false")
            raise ValueError

        return self._get(field, default_value, none_if_missing, convert, "boolean")

    def get_int(self, field, default_value=None, none_if_missing=False):
        return self._number(field, default_value, none_if_missing, int)

    get_long = get_int

    def get_float(self, field, default_value=None, none_if_missing=False):
        return self._number(field, default_value, none_if_missing, float)

    def _number(self, field, default_value, none_if_missing, kind):
        def convert(value):
            if isinstance(value, bool) or not isinstance(value, (int, float, str)):
                raise ValueError
            return kind(value)

        return self._get(
            field, default_value, none_if_missing, convert, kind.__name__
        )

    def get_string(self, field, default_value=None, none_if_missing=False):
        def convert(value):
            if isinstance(value, bool):
                return "true" if value else "false"
            if isinstance(value, (str, int, float)):
                return str(value)
            raise ValueError

        return self._get(field, default_value, none_if_missing, convert, "string")

    def get_json_object(self, field, default_value=None, none_if_missing=False):
        return self._typed(field, default_value, none_if_missing, JsonObject)

    def get_json_array(self, field, default_value=None, none_if_missing=False):
        return self._typed(field, default_value, none_if_missing, JsonArray)

    def get_or_create_json_object(self, field):
        if field not in self._map:
            self._map[field] = JsonObject()
        return self.get_json_object(field)

    def _typed(self, field, default_value, none_if_missing, kind):
        def convert(value):
            if isinstance(value, kind):
                return value
            raise ValueError

        return self._get(
            field, default_value, none_if_missing, convert, kind.__name__
        )

    def _get(self, field, default, none_if_missing, convert, kind=None):
        if field not in self._map:
            if default is not None or none_if_missing:
                return default
            raise JsonMissingFieldException(
                'The object has no field "%s", and there is no default' % field
            )
        value = self._map[field]
        try:
            return convert(value)
        except (ValueError, OverflowError):
            raise JsonConversionException(
                'Field "%s" is %r, which is no %s' % (field, value, kind)
            )


class JsonArray(object):
    """A list whose elements are JSON."""

    def __init__(self, *args):
        self._items = list(args)

    def __repr__(self):
        return repr(self._items)

    def __len__(self):
        return len(self._items)

    def __iter__(self):
        return iter(self._items)

    def __getitem__(self, index):
        return self._items[index]

    def __setitem__(self, index, value):
        self._items[index] = value

    def __eq__(self, other):
        if isinstance(other, JsonArray):
            return self._items == other._items
        return isinstance(other, list) and convert_to_builtin_type(self) == other

    def __ne__(self, other):
        return not self == other

    __hash__ = None

    def add(self, value):
        self._items.append(value)

    def get_json_object(self, index):
        if not isinstance(self._items[index], JsonObject):
            raise JsonConversionException("Element %s is no JSON object" % index)
        return self._items[index]

    def json_objects(self):
        for index in range(len(self._items)):
            yield self.get_json_object(index)


class ArrayOfStrings(JsonArray):
    """Strings only, also as text with commas between them."""

    separators = [","]

    def __init__(self, values=None):
        values = list(values or ())
        for value in values:
            if not isinstance(value, str):
                raise TypeError("%r is no string" % (value,))
        JsonArray.__init__(self, *values)


class SpaceAndCommaSeparatedArrayOfStrings(ArrayOfStrings):
    separators = [None, ","]
