"""Runs the local stack's AWS in one process: moto's server, with the resources of template.yaml.

Usage: local_aws.py TEMPLATE HOST PORT FAULTS

FAULTS is the file that faults.py reads.

Prints the endpoint and the names of the resources as one JSON object. Ends when standard input does: `xendit-hooks dev` holds
its other end, so that nothing is left behind however that ends.
"""

import json
import sys
import threading

import failed_invocations  # noqa: F401
import stack
from faults import Faults
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from one_at_a_time import OneAtATime
from werkzeug.serving import make_server


def main(template, host, port, faults):
    application = Faults(OneAtATime(create_backend_app), faults)
    server = make_server(host, int(port), application, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.port}"
    print(json.dumps({"endpoint": endpoint, **stack.create(template, endpoint)}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
