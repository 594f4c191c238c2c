"""The part of `six` that monitors use, for Pythons that do not have the real one. Python 3 only."""

import functools
import importlib
import io
import operator
import sys
import types

PY2 = False
PY3 = True
PY34 = True

string_types = (str,)
integer_types = (int,)
class_types = (type,)
text_type = str
binary_type = bytes
MAXSIZE = sys.maxsize

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


def iterkeys(d, **kw):
    return iter(d.keys(**kw))


def itervalues(d, **kw):
    return iter(d.values(**kw))


def iteritems(d, **kw):
    return iter(d.items(**kw))


def iterlists(d, **kw):
    return iter(d.lists(**kw))


viewkeys = operator.methodcaller("keys")
viewvalues = operator.methodcaller("values")
viewitems = operator.methodcaller("items")


def ensure_binary(s, encoding="utf-8", errors="strict"):
    if isinstance(s, bytes):
        return s
    if isinstance(s, str):
        return s.encode(encoding, errors)
    raise TypeError("not expecting type '%s'" % type(s))


def ensure_text(s, encoding="utf-8", errors="strict"):
    if isinstance(s, bytes):
        return s.decode(encoding, errors)
    if isinstance(s, str):
        return s
    raise TypeError("not expecting type '%s'" % type(s))


ensure_str = ensure_text


def reraise(tp, value, tb=None):
    value = tp() if value is None else value
    raise value.with_traceback(tb)


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
