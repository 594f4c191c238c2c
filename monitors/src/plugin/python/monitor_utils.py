"""What monitors that serve requests or write files use."""

from scalyr_agent.monitor_utils.auto_flushing_rotating_file import (
    AutoFlushingRotatingFile,
)
from scalyr_agent.monitor_utils.server_processors import (
    Int32RequestParser,
    LineRequestParser,
    ServerProcessor,
)

__all__ = [
    "AutoFlushingRotatingFile",
    "Int32RequestParser",
    "LineRequestParser",
    "ServerProcessor",
]
