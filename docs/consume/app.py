"""Takes domain events, and says which orders are paid. Run: python3 docs/consume/app.py"""

import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

handled = set()  # In production this is a table, written in the transaction that changes the order.
versions = {}


def apply(event):
    detail = event["detail"]
    if event["detail-type"] not in ("invoice.paid", "payment.succeeded"):
        return  # Not about an order.
    if detail["id"] in handled:
        return  # A duplicate.
    subject = tuple(detail["subject"].get(key) for key in ("kind", "scope", "id"))
    if detail["version"] < versions.get(subject, 0):
        return  # Older than what is known.
    paid = detail.get("paid")  # The total. Absent while webhooks contradict each other.
    amount = f"{paid['currency']} {paid['amount']}" if paid else "look at Xendit"
    print(f"{detail.get('reference')} is paid: {amount}", flush=True)
    versions[subject] = detail["version"]
    handled.add(detail["id"])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            apply(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
        except Exception as error:
            self.log_error("%r", error)
            self.send_response(500)  # The event is sent again.
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Handler).serve_forever()
