"""How long ago a file was last written, such as a backup that has to be made each night.

    {module: "file_age", path: "/var/backups/db.dump"}

Writes file_age.seconds and file_age.bytes with the field `path`. A monitor in the way of the Python
agent: it is not executable, and the agent runs it (docs/plugins.md).
"""

import os
import time

from scalyr_agent import ScalyrMonitor, define_config_option, define_metric

# The declarations below are about this module.
__monitor__ = __name__

define_config_option(
    __monitor__, "path", "The file to look at.", required_option=True, convert_to=str
)
define_metric(
    __monitor__,
    "file_age.seconds",
    "Seconds since the file was last written.",
    extra_fields={"path": ""},
)
define_metric(
    __monitor__, "file_age.bytes", "Its size.", extra_fields={"path": ""}
)


class FileAgeMonitor(ScalyrMonitor):
    """Looks at one file once an interval."""

    def _initialize(self):
        self._path = self._config.get("path")

    def gather_sample(self):
        # An exception fails the sample; the agent tells its text and asks again.
        status = os.stat(self._path)
        fields = {"path": self._path}
        age = max(0, int(time.time() - status.st_mtime))
        self._logger.emit_value("file_age.seconds", age, extra_fields=fields)
        self._logger.emit_value("file_age.bytes", status.st_size, extra_fields=fields)
