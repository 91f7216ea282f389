"""Counts visits in a file of a persistent directory, so that the count outlives every version of this program."""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COUNT = Path(os.environ["PLOYER_VOLUME_DATA"]) / "count"
lock = threading.Lock()


def visit():
    """The count with this visit, on disk before it is told."""
    with lock:
        count = int(COUNT.read_text()) + 1 if COUNT.exists() else 1
        beside = COUNT.with_suffix(".new")
        beside.write_text(str(count))
        beside.replace(COUNT)
        return count


class Counter(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, "ok\n")
        if self.path != "/":
            return self.answer(404, "there is nothing here\n")
        self.answer(200, f"You are visitor {visit()}.\n")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print(self.address_string(), format % args, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ["PORT"])
    print(f"listening on port {port}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Counter).serve_forever()
