"""Names that once stood for a difference between Python 2 and 3."""

import collections
import os
import shutil
import struct
import subprocess

PY2 = False
PY3 = True

os_environ_unicode = os.environ
os_getenv_unicode = os.getenv
struct_pack_unicode = struct.pack
struct_unpack_unicode = struct.unpack
subprocess_check_output = subprocess.check_output
custom_any = any
custom_all = all
custom_defaultdict = collections.defaultdict
which = shutil.which
find_executable = shutil.which
