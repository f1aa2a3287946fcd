"""Where the lab's alerts end: an HTTP server that keeps every message as a line of JSON. Standard library only.

    python3 -m lab.sink ADDRESS PORT FOLDER     writes FOLDER/alerts.jsonl, and FOLDER/ready when it listens

The last part of the path is the target's name; the body is what Apprise's json:// sends (title, message, type).
A file FOLDER/refuse makes it answer 503, as a messenger on a bad day.
"""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LARGEST = 1 << 20


class Sink(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: str, port: int, folder: Path) -> None:
        self.folder = folder
        super().__init__((address, port), Handler)


class Handler(BaseHTTPRequestHandler):
    timeout = 5
    server: Sink

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, LARGEST))
        folder = self.server.folder
        if (folder / "refuse").exists():
            self.send_error(503)
            return
        try:
            said = json.loads(body)
        except ValueError:
            self.send_error(400)
            return
        row = {"at": time.time(), "target": self.path.rpartition("/")[2], "title": said.get("title", "")}
        row |= {"body": said.get("message", "")}
        with (folder / "alerts.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: what came is in the file."""


def main(arguments: list[str]) -> None:
    address, port, folder = arguments[0], int(arguments[1]), Path(arguments[2])
    with Sink(address, port, folder) as sink:
        (folder / "ready").touch()
        sink.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
