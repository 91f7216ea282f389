"""A guestbook in Python's standard library: listens on $PORT, answers /health, forgets everything when it ends."""

import html
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

ENTRIES_MAX = 100
ENTRY_BYTES_MAX = 2_000

entries = ["The first one is always the hardest."]

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guestbook</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ max-width: 34rem; margin: 3rem auto; padding: 0 1rem; font: 1.05rem/1.6 system-ui, sans-serif; }}
  form {{ display: flex; gap: .5rem; }}
  input {{ flex: 1; padding: .6rem .8rem; font: inherit; border: 1px solid #8886; border-radius: 8px; }}
  button {{ padding: .6rem 1rem; font: inherit; border: 0; border-radius: 8px; background: #d9622b; color: #fff; }}
  li {{ padding: .6rem 0; border-top: 1px solid #8884; list-style: none; overflow-wrap: anywhere; }}
  ul {{ padding: 0; }}
</style>
<h1>Guestbook</h1>
<form method="post"><input name="entry" maxlength="200" placeholder="Leave a line" required><button>Sign</button></form>
<ul>{entries}</ul>
"""


class Guestbook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, "text/plain", "ok\n")
        if self.path != "/":
            return self.answer(404, "text/plain", "there is nothing here\n")
        items = "".join(f"<li>{html.escape(entry)}</li>" for entry in reversed(entries))
        self.answer(200, "text/html; charset=utf-8", PAGE.format(entries=items))

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        if length > ENTRY_BYTES_MAX:
            self.close_connection = True
            return self.answer(413, "text/plain", "that is too long\n")
        entry = parse_qs(self.rfile.read(length).decode("utf-8", "replace")).get("entry", [""])[0].strip()
        if entry:
            entries.append(entry)
            del entries[:-ENTRIES_MAX]
        self.send_response(303)
        self.send_header("location", "/")
        self.send_header("content-length", "0")
        self.end_headers()

    def answer(self, status, kind, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print(self.address_string(), format % args, flush=True)


if __name__ == "__main__":
    # Ends at once when it is told to: Ployer has moved the requests elsewhere by then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ["PORT"])
    print(f"listening on port {port}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Guestbook).serve_forever()
