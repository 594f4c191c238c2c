"""The part of `six` that monitors use, for Pythons that do not have the real one. Python 3 only."""

import functools
import importlib
import io
import operator
import sys
import types

PY2, PY3, PY34 = False, True, True
MAXSIZE = sys.maxsize
text_type, binary_type = str, bytes
string_types, integer_types, class_types = (str,), (int,), (type,)

StringIO = io.StringIO
BytesIO = io.BytesIO
unichr = chr
next = advance_iterator = next
callable = callable
int2byte = operator.methodcaller("to_bytes", 1, "big")
byte2int = operator.itemgetter(0)
indexbytes = operator.getitem
iterbytes = iter
get_function_code = operator.attrgetter("__code__")
get_function_defaults = operator.attrgetter("__defaults__")
get_function_globals = operator.attrgetter("__globals__")
get_method_function = operator.attrgetter("__func__")
get_method_self = operator.attrgetter("__self__")
wraps = functools.wraps
print_ = print
exec_ = exec


def b(text):
    return text.encode("latin-1")


def u(text):
    return text


def _call(name, wrap=None):
    """A function that calls a method of its first argument, for its result or an iterator over it."""

    def of(mapping, **kw):
        result = getattr(mapping, name)(**kw)
        return result if wrap is None else wrap(result)

    return of


viewkeys, iterkeys = _call("keys"), _call("keys", iter)
viewvalues, itervalues = _call("values"), _call("values", iter)
viewitems, iteritems = _call("items"), _call("items", iter)
iterlists = _call("lists", iter)


def _ensure(have, wanted, convert):
    """A function that leaves `wanted` as it is and turns `have` into it by its method `convert`."""

    def ensure(text, encoding="utf-8", errors="strict"):
        if isinstance(text, wanted):
            return text
        if isinstance(text, have):
            return getattr(text, convert)(encoding, errors)
        kind = type(text).__name__
        raise TypeError("%s is neither text nor bytes" % kind)

    return ensure


ensure_binary = _ensure(str, bytes, "encode")
ensure_text = ensure_str = _ensure(bytes, str, "decode")


def reraise(tp, value, tb=None):
    error = value if value is not None else tp()
    error.__traceback__ = tb
    raise error


def raise_from(value, from_value):
    raise value from from_value


def with_metaclass(meta, *bases):
    return types.new_class("temporary", bases, {"metaclass": meta})


def add_metaclass(metaclass):
    def rebuilt(cls):
        members = dict(cls.__dict__)
        members.pop("__dict__", None)
        members.pop("__weakref__", None)
        return metaclass(cls.__name__, cls.__bases__, members)

    return rebuilt


def python_2_unicode_compatible(cls):
    return cls


class _Moved(types.ModuleType):
    """Stands for another module, which is imported when something of it is asked for."""

    def __init__(self, name, target):
        types.ModuleType.__init__(self, name)
        self._target = target

    def __getattr__(self, name):
        # The import system asks for these of every module.
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        value = getattr(importlib.import_module(self._target), name)
        setattr(self, name, value)
        return value


moves = types.ModuleType("six.moves")
moves.__path__ = []
_urllib = types.ModuleType("six.moves.urllib")
_urllib.__path__ = []

_MODULES = {
    "builtins": "builtins",
    "cPickle": "pickle",
    "configparser": "configparser",
    "copyreg": "copyreg",
    "html_entities": "html.entities",
    "html_parser": "html.parser",
    "http_client": "http.client",
    "http_cookiejar": "http.cookiejar",
    "http_cookies": "http.cookies",
    "BaseHTTPServer": "http.server",
    "SimpleHTTPServer": "http.server",
    "queue": "queue",
    "reprlib": "reprlib",
    "socketserver": "socketserver",
    "_thread": "_thread",
    "xmlrpc_client": "xmlrpc.client",
    "urllib_parse": "urllib.parse",
    "urllib_error": "urllib.error",
}


def _place(parent, name, module):
    setattr(parent, name, module)
    sys.modules["%s.%s" % (parent.__name__, name)] = module


sys.modules["six.moves"] = moves
for _name, _target in _MODULES.items():
    _place(moves, _name, _Moved("six.moves." + _name, _target))
_place(moves, "urllib", _urllib)
for _name in ("parse", "request", "error", "response", "robotparser"):
    _place(_urllib, _name, _Moved("six.moves.urllib." + _name, "urllib." + _name))

moves.range = moves.xrange = range
moves.zip = zip
moves.map = map
moves.filter = filter
moves.input = input
moves.intern = sys.intern
moves.reduce = functools.reduce
moves.cStringIO = moves.StringIO = io.StringIO
moves.reload_module = importlib.reload
moves.getcwd = __import__("os").getcwd
moves.shlex_quote = __import__("shlex").quote
moves.zip_longest = __import__("itertools").zip_longest
moves.filterfalse = __import__("itertools").filterfalse
