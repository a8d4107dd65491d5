"""A server on the loopback interface that outlives its client in silence."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LoopbackServer(ThreadingHTTPServer):
    """Answers on a free port, each request in a thread of its own that nobody waits for.

    A client that has given up is no fault of the server. A traceback that its thread printed would
    land seconds later in the captured output of whichever test then runs.

    Args:
        handler: what answers a request.
    """

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what went wrong, unless the client hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
