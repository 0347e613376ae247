"""Moto's server, for those who need AWS's word that a conditional write and a queue's change are one step each.

Moto serves each request in a thread and guards nothing, so that two writers can both meet their condition, and a message
that is sent while another is deleted can be lost. Here one request is done after the other.
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


# Seconds after which a function may have given up a request.
PATIENCE = 1


def is_gone(client):
    """Whether nobody waits for the answer any more.

    On a slow machine, doing what was given up would make everybody behind it give up as well, for ever.
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
        # A client that is frozen while it sends holds up nobody: its turn comes when all is there.
        environ["wsgi.input"] = io.BytesIO(get_input_stream(environ).read())
        environ["wsgi.input_terminated"] = True
        came = time.monotonic()
        with self.turn:
            if time.monotonic() - came > PATIENCE and is_gone(environ["werkzeug.socket"]):
                start_response("503 Service Unavailable", [("Content-Length", "0")])
                return []
            return super().__call__(environ, start_response)


# Moto builds eight parsers anew for each event that a rule hands on, and that takes longer than all else.
jsonpath_ng.ext.parse = functools.cache(jsonpath_ng.ext.parse)
server.DomainDispatcherApplication = OneAtATime
server.main()
