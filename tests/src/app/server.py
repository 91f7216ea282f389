"""The sample application of the stories: an HTTP and WebSocket server of the standard library alone.

What it is, and what is wrong with it, stands in `variant.json` beside it. On SIGTERM it accepts nothing more,
answers what is under way, closes what is idle, tells WebSockets to go away, and ends.
"""

import asyncio
import base64
import fcntl
import hashlib
import json
import os
import signal
import sys
import time
from urllib.parse import parse_qs, urlsplit

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "variant.json"), encoding="utf-8") as file:
    VARIANT = json.load(file)
VERSION = VARIANT["version"]
STARTED = time.monotonic()
WEB_SOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def say(text):
    print(text, flush=True)


def volume():
    return os.environ["PLOYER_VOLUME_DATA"]


def note(name):
    """Appends this version to a file of the volume: one write, so that it is there or not."""
    out = os.open(os.path.join(volume(), name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(out, f"{VERSION}\n".encode())
    os.fsync(out)
    os.close(out)


def noted(name):
    try:
        with open(os.path.join(volume(), name), encoding="utf-8") as lines:
            return lines.read().split()
    except FileNotFoundError:
        return []


class Connection:
    """One client connection: idle between requests, and then free to be closed."""

    def __init__(self, app, reader, writer):
        self.app, self.reader, self.writer = app, reader, writer
        self.is_idle = True
        self.is_web_socket = False
        self.path = ""

    async def serve(self):
        try:
            while await self.one_request() and not self.app.is_ending:
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.writer.close()

    async def one_request(self):
        """Answers one request; false when the connection is over."""
        self.is_idle = True
        line = await self.reader.readline()
        self.is_idle = False
        if not line:
            return False
        head = line + await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        fields = dict((name.lower(), value.strip()) for name, _, value in (l.partition(":") for l in lines[1:] if l))
        url = urlsplit(target)
        self.path = url.path
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if fields.get("upgrade", "").lower() == "websocket":
            await self.web_socket(fields)
            return False
        body = hashlib.sha256()
        received = 0
        async for piece in self.body(fields):
            body.update(piece)
            received += len(piece)
        if url.path == "/stream":
            await self.stream(query)
        else:
            await self.answer(*await self.app.respond(method, url.path, query, received, body.hexdigest()))
        return fields.get("connection", "").lower() != "close"

    async def body(self, fields):
        if "chunked" in fields.get("transfer-encoding", "").lower():
            while size := int((await self.reader.readline()).split(b";")[0], 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            while (await self.reader.readline()).strip():
                pass
        elif length := int(fields.get("content-length", "0")):
            yield await self.reader.readexactly(length)

    def head(self, status, more):
        ending = "connection: close\r\n" if self.app.is_ending else ""
        return f"HTTP/1.1 {status} -\r\nx-version: {VERSION}\r\n{ending}{more}\r\n".encode()

    async def answer(self, status, text):
        body = text.encode()
        self.writer.write(self.head(status, f"content-type: text/plain\r\ncontent-length: {len(body)}\r\n") + body)
        await self.writer.drain()

    async def stream(self, query):
        self.writer.write(self.head(200, "content-type: text/plain\r\ntransfer-encoding: chunked\r\n"))
        for number in range(int(query["pieces"])):
            piece = f"{VERSION} {query['n']} {number}\n".encode()
            self.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await self.writer.drain()
            await asyncio.sleep(float(query["pause"]))
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def web_socket(self, fields):
        accept = base64.b64encode(hashlib.sha1((fields["sec-websocket-key"] + WEB_SOCKET_GUID).encode()).digest())
        self.writer.write(
            f"HTTP/1.1 101 -\r\nx-version: {VERSION}\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            f"sec-websocket-accept: {accept.decode()}\r\n\r\n".encode()
        )
        self.is_web_socket = True
        if self.app.is_ending:
            self.go_away()
        while True:
            opcode, payload = await self.frame()
            if opcode == 8:
                if not self.app.is_ending:
                    self.send(8, payload)
                    await self.writer.drain()
                return
            if self.app.is_ending:
                continue
            if opcode == 9:
                self.send(10, payload)
            if opcode == 1:
                self.send(1, f"{VERSION} ".encode() + payload)
            await self.writer.drain()

    async def frame(self):
        first, second = await self.reader.readexactly(2)
        length = second & 127
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        elif length == 127:
            length = int.from_bytes(await self.reader.readexactly(8), "big")
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(length)
        return first & 15, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))

    def send(self, opcode, payload):
        assert len(payload) < 126, "the stories send short messages"
        self.writer.write(bytes([128 | opcode, len(payload)]) + payload)

    def go_away(self):
        self.send(8, (1001).to_bytes(2, "big") + VERSION.encode())


class App:
    """What all connections share."""

    def __init__(self):
        self.is_ending = False
        self.is_ready = VARIANT["health_path"] is None
        self.connections = set()
        self.ended = asyncio.Event()

    async def run(self):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.end)
        port = int(os.environ["PORT"])
        if VARIANT["fault"] == "other_port":
            port += 10_000
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", port, backlog=1024)
        say(f"{VERSION} listens on http://127.0.0.1:{port}")
        if VARIANT["ticks"]:
            self.ticking = loop.create_task(self.tick())
        await self.ended.wait()
        say(f"{VERSION} has ended")

    async def accept(self, reader, writer):
        connection = Connection(self, reader, writer)
        self.connections.add(connection)
        await connection.serve()
        self.connections.discard(connection)
        self.end_if_done()

    async def tick(self):
        number = 0
        while True:
            say(f"tick {VERSION} {os.getpid()} {number}")
            number += 1
            await asyncio.sleep(0.1)

    def end(self):
        say(f"{VERSION} was told to end")
        self.is_ending = True
        self.server.close()
        for connection in self.connections:
            if connection.is_web_socket:
                connection.go_away()
            elif connection.is_idle:
                connection.writer.close()
        self.end_if_done()

    def end_if_done(self):
        if self.is_ending and not self.connections:
            self.ended.set()

    async def respond(self, method, path, query, received, digest):
        if path == VARIANT["health_path"]:
            return self.health()
        if not self.is_ready:
            return 500, f"{VERSION} was asked for {path} before it was ready"
        if path == "/slow":
            await asyncio.sleep(float(query["s"]))
        if path == "/upload":
            return 200, f"{VERSION} {query['n']} {received} {digest}"
        if path == "/under-way":
            return 200, f"{VERSION} {' '.join(c.path for c in self.connections if not c.is_idle)}"
        if path == "/noted":
            return 200, " ".join(noted(query["file"]))
        return 200, f"{VERSION} {query.get('n', '')}"

    def health(self):
        if VARIANT["fault"] == "unhealthy":
            return 500, "the database is away"
        if time.monotonic() - STARTED < VARIANT["ready_after"]:
            return 503, "warming up"
        self.is_ready = True
        return 200, "fine"


def build():
    say(f"building {VERSION}")
    time.sleep(VARIANT["build_seconds"])
    if VARIANT["fault"] == "build":
        say("error: expected `;` in line 7")
        sys.exit(2)
    if VARIANT["fault"] == "build_fills_disk":
        with open("large", "wb") as large:
            for _ in range(1024):
                large.write(bytes(1 << 20))
    say(f"built {VERSION}")


def release():
    note("released")
    say(f"migrating to {VERSION}")
    time.sleep(VARIANT["release_seconds"])
    if VARIANT["fault"] == "release":
        say("error: table `orders` does not exist")
        sys.exit(3)


def web():
    say(f"{VERSION} starts")
    if VARIANT["fault"] == "exits":
        say("fatal: DATABASE_URL is not set")
        sys.exit(4)
    if VARIANT["fault"] == "never_listens":
        say("waiting for a lock that nobody gives back")
        signal.pause()
    if VARIANT["one_at_a_time"]:
        global LOCK
        LOCK = open(os.path.join(volume(), "lock"), "w", encoding="utf-8")
        try:
            fcntl.flock(LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("fatal: another one writes to this volume")
            sys.exit(5)
        note("started")
    asyncio.run(App().run())


{"build": build, "release": release, "web": web}[sys.argv[1]]()
