"""Moto's server, serving one request at a time.

Moto serves each request in its own thread without locks: two conditional writes can both succeed, and a message can get
lost when another is deleted at the same time. On AWS these operations are atomic.
"""

import functools
import io
import json
import socket
import threading
import time

import jsonpath_ng.ext
from moto import server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from werkzeug.wsgi import get_input_stream


# Seconds after which a client may have timed out.
PATIENCE_SECONDS = 1

# Seconds between two looks into a queue from which a client waits to receive.
POLL_SECONDS = 0.05


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
        body = get_input_stream(environ).read()
        if environ.get("HTTP_X_AMZ_TARGET") == "AmazonSQS.ReceiveMessage":
            return self.receive(environ, start_response, json.loads(body))
        return self.serve(environ, start_response, body)

    def receive(self, environ, start_response, call):
        """Waits for a message in between the requests of others, where moto would wait in the middle of one."""
        until = time.monotonic() + call.get("WaitTimeSeconds", 0)
        body = json.dumps({**call, "WaitTimeSeconds": 0}).encode()
        while True:
            answers = []
            chunks = b"".join(self.serve(environ, lambda *answer: answers.append(answer), body))
            if time.monotonic() >= until or b'"MessageId"' in chunks or is_gone(environ["werkzeug.socket"]):
                start_response(*answers[-1])
                return [chunks]
            time.sleep(POLL_SECONDS)

    def serve(self, environ, start_response, body):
        # Moto adds its own entries.
        environ = {**environ, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
        environ["wsgi.input_terminated"] = True
        came = time.monotonic()
        with self.turn:
            if time.monotonic() - came > PATIENCE_SECONDS and is_gone(environ["werkzeug.socket"]):
                start_response("503 Service Unavailable", [("Content-Length", "0")])
                return []
            return super().__call__(environ, start_response)


# Moto builds eight parsers for each event that a rule forwards, which takes longer than everything else.
jsonpath_ng.ext.parse = functools.cache(jsonpath_ng.ext.parse)

if __name__ == "__main__":
    server.DomainDispatcherApplication = OneAtATime
    server.main()
