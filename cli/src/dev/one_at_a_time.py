"""Moto's server, serving one request at a time.

Moto serves each request in its own thread without locks: two conditional writes can both succeed, and a message can get
lost when another is deleted at the same time. On AWS these operations are atomic.
"""

import functools
import io
import socket
import threading
import time

import jsonpath_ng.ext
from moto import server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from werkzeug.wsgi import get_input_stream


# Seconds after which a client may have timed out.
PATIENCE_SECONDS = 1


def is_gone(client):
    """Whether the client has closed the connection.

    On a slow machine, serving requests that have timed out would make all later ones time out as well.
    """
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


class OneAtATime(DomainDispatcherApplication):
    def __init__(self, create_app):
        super().__init__(create_app)
        self.turn = threading.Lock()

    def __call__(self, environ, start_response):
        # Read the whole request first, so that a client that is frozen while sending does not block others.
        environ["wsgi.input"] = io.BytesIO(get_input_stream(environ).read())
        environ["wsgi.input_terminated"] = True
        came = time.monotonic()
        with self.turn:
            if time.monotonic() - came > PATIENCE_SECONDS and is_gone(environ["werkzeug.socket"]):
                start_response("503 Service Unavailable", [("Content-Length", "0")])
                return []
            return super().__call__(environ, start_response)


# Moto builds eight parsers for each event that a rule forwards, which takes longer than everything else.
jsonpath_ng.ext.parse = functools.cache(jsonpath_ng.ext.parse)
server.DomainDispatcherApplication = OneAtATime
server.main()
