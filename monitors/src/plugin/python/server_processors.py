"""A small server for requests on TCP."""

import io
import socket
import socketserver
import struct
import threading
import time

# How long a connection is waited for before a look whether the server is to end.
_LOOK = 0.2
_MOST_CONNECTIONS = 256


class ConnectionIdleTooLong(Exception):
    def __init__(self, time_since_last_activity, max_inactivity):
        Exception.__init__(
            self,
            "Connection closed after %s s without a request (limit %s s)"
            % (time_since_last_activity, max_inactivity),
        )


class RequestSizeExceeded(Exception):
    def __init__(self, request_size, max_request_size):
        Exception.__init__(
            self,
            "A request of %s bytes or more is larger than the limit of %s"
            % (request_size, max_request_size),
        )


class LineRequestParser(object):
    """Requests are lines; their ends are part of them."""

    def __init__(self, max_request_size, eof_as_eol=False):
        self._most = max_request_size
        self._eof_as_eol = eof_as_eol

    def parse_request(self, input_buffer, num_available_bytes):
        begin = input_buffer.tell()
        line = input_buffer.readline(self._most + 1)
        if line.endswith(b"\n") and len(line) <= self._most:
            return line
        if len(line) >= self._most:
            raise RequestSizeExceeded(len(line), self._most)
        if line and self._eof_as_eol:
            return line
        input_buffer.seek(begin)
        return None


class Int32RequestParser(object):
    """Requests have their length before them, in four bytes, highest first."""

    def __init__(self, max_request_size):
        self._most = max_request_size

    def parse_request(self, input_buffer, num_available_bytes):
        begin = input_buffer.tell()
        head = input_buffer.read(4)
        if len(head) == 4:
            (length,) = struct.unpack("!I", head)
            if length > self._most:
                raise RequestSizeExceeded(length, self._most)
            if num_available_bytes >= 4 + length:
                return input_buffer.read(length)
        input_buffer.seek(begin)
        return None


class _Connection(socketserver.BaseRequestHandler):
    def handle(self):
        server = self.server
        try:
            server.converse(self.request)
        except Exception as error:
            server.report_connection_problem(error)


class ServerProcessor(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Derived classes have `parse_request(input, available)`, which returns one complete request or
    None, and `execute_request(request)`."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(
        self,
        server_port,
        localhost_socket=True,
        max_connection_idle_time=300,
        max_request_size=100 * 1024,
        buffer_size=100 * 1024,
        run_state=None,
    ):
        self._idle = max_connection_idle_time
        self._most = max(max_request_size, buffer_size)
        self._run_state = run_state
        self._room = threading.Semaphore(_MOST_CONNECTIONS)
        address = "127.0.0.1" if localhost_socket else ""
        socketserver.TCPServer.__init__(self, (address, server_port), _Connection)
        if run_state is not None:
            run_state.register_on_stop_callback(self.shutdown)

    def run(self):
        try:
            self.serve_forever(_LOOK)
        finally:
            self.server_close()

    def verify_request(self, request, client_address):
        if self._room.acquire(False):
            return True
        self.report_connection_problem(Exception("Too many connections"))
        return False

    def process_request_thread(self, request, client_address):
        try:
            socketserver.ThreadingMixIn.process_request_thread(
                self, request, client_address
            )
        finally:
            self._room.release()

    def converse(self, connection):
        """Until the peer ends, is silent for too long, or sends too much."""
        connection.settimeout(_LOOK)
        pending = b""
        last = time.monotonic()
        while self._run_state is None or self._run_state.is_running():
            silent = time.monotonic() - last
            if silent > self._idle:
                raise ConnectionIdleTooLong(int(silent), self._idle)
            try:
                more = connection.recv(16 * 1024)
            except socket.timeout:
                continue
            if not more:
                return
            source = io.BytesIO(pending + more)
            size = len(pending) + len(more)
            while True:
                request = self.parse_request(source, size - source.tell())
                if request is None:
                    break
                last = time.monotonic()
                self.execute_request(request)
            pending = source.read()
            if len(pending) > self._most:
                raise RequestSizeExceeded(len(pending), self._most)

    def parse_request(self, request_input, num_available_bytes):
        raise NotImplementedError

    def execute_request(self, request):
        raise NotImplementedError

    def report_connection_problem(self, exception):
        """For derived classes."""
