"""HTTPS, tokens, parameters and the journal around the API's handlers.

Answers `{"data": ...}`; refusals carry Proxmox's text in the reason phrase, 401 has an empty body.
"""

from __future__ import annotations

import hmac
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from lab.hypervisor.errors import ApiError
from lab.hypervisor.params import check
from lab.hypervisor.settings import Settings, Token

MASKED = ("cipassword", "password", "secret")
LARGEST = 1 << 20


@dataclass(frozen=True)
class Call:
    """One authorised request: values from the path, checked parameters, and who asks."""

    path: Mapping[str, str]
    params: Mapping[str, str]
    user: str

    @property
    def vmid(self) -> int:
        return int(self.path["vmid"])


@dataclass(frozen=True)
class Route:
    """`template` as in the published schema; `privilege` names what an auditor lacks (None: reading)."""

    method: str
    template: str
    rules: Mapping[str, str]
    handler: Callable[[Call], Any]
    privilege: str | None = None

    @property
    def pattern(self) -> str:
        named = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.template)
        return named.replace("(?P<volume>[^/]+)", "(?P<volume>.+)")  # a volume's name contains a slash


class ApiServer(ThreadingHTTPServer):
    """Serves the routes on the settings' address. The TLS handshake runs in each connection's own thread."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, settings: Settings, routes: list[Route]) -> None:
        self.settings, self.routes = settings, routes
        self._journal = threading.Lock()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self.tls.load_cert_chain(settings.folder / "server.pem", settings.folder / "server.key")
        super().__init__((settings.address, settings.port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up or speaks no TLS is not our error."""

    def record(self, entry: Mapping[str, Any]) -> None:
        """Append one exchange to the journal, for checking against the published schema."""
        if self.settings.journal:
            with self._journal, Path(self.settings.journal).open("a") as file:
                file.write(json.dumps(entry) + "\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "pve-api-daemon/3.0"
    sys_version = ""
    wbufsize = -1
    timeout = 60
    server: ApiServer

    def setup(self) -> None:
        self.request.settimeout(10)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()  # the server closes only the plain socket that the handshake replaced

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - names that the base class looks up

    def log_message(self, *args: Any) -> None:
        """The journal is the log."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        path = parts.path.removeprefix("/api2/json")
        status, reason, body, data = 200, "OK", None, None
        sent: dict[str, str] = {}
        try:
            sent = self._sent(parts.query)
            token = self._authorise()
            if path == parts.path:
                raise ApiError(501, f"Method '{self.command} {path}' not implemented")
            data = self._call(path, sent, token)
            body = {"data": data}
        except ApiError as error:
            status, reason = error.status, error.reason
            body = None if status == 401 else {"data": None, "message": f"{reason}\n"}
            if body is not None and error.errors:
                body["errors"] = error.errors
        except Exception as error:  # a fault of ours must look like a fault, not hang the client
            status, reason, body = 500, f"internal error: {type(error).__name__}: {error}", {"data": None}
        shown = {key: "***" if key in MASKED else value for key, value in sent.items()}
        self.server.record(
            {"method": self.command, "path": path, "params": shown, "status": status, "reason": reason, "data": data}
        )
        self._answer(status, reason, b"" if body is None else json.dumps(body).encode())

    def _sent(self, query: str) -> dict[str, str]:
        """Parameters of query and body; a repeated key becomes a comma list. Reads the whole body, always."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST:
            self.close_connection = True
            raise ApiError(413, "request body too large")
        raw = self.rfile.read(length) if length else b""
        pairs = parse_qsl(query, keep_blank_values=True)
        if "json" in self.headers.get("Content-Type", "") and raw:
            pairs += [(key, _text(value)) for key, value in json.loads(raw).items()]
        else:
            pairs += parse_qsl(raw.decode(), keep_blank_values=True)
        found: dict[str, str] = {}
        for key, value in pairs:
            found[key] = f"{found[key]},{value}" if key in found else value
        return found

    def _authorise(self) -> Token:
        header = self.headers.get("Authorization", "")
        if not header.startswith("PVEAPIToken="):
            raise ApiError(401, "No ticket")
        identity, _, secret = header.removeprefix("PVEAPIToken=").partition("=")
        for token in self.server.settings.tokens:
            if token.id == identity and hmac.compare_digest(token.secret.encode(), secret.encode()):
                return token
        raise ApiError(401, "invalid token value!" if secret else "no tokenid specified")

    def _call(self, path: str, sent: Mapping[str, str], token: Token) -> Any:
        for route in self.server.routes:
            match = re.fullmatch(route.pattern, path) if route.method == self.command else None
            if match:
                node = match.groupdict().get("node", self.server.settings.node)
                if node != self.server.settings.node:
                    raise ApiError(500, f"hostname lookup '{node}' failed - failed to get address info for: {node}")
                params = check(route.rules, sent)
                if not match.groupdict().get("vmid", "100").isdigit():
                    raise ApiError(400, "Parameter verification failed.", {"vmid": "type check ('integer') failed"})
                if route.privilege and token.role != "deploy":
                    subject = f"/vms/{match['vmid']}" if "{vmid}" in route.template else "/"
                    raise ApiError(403, f"Permission check failed ({subject}, {route.privilege})")
                return route.handler(Call({k: unquote(v) for k, v in match.groupdict().items()}, params, token.id))
        raise ApiError(501, f"Method '{self.command} {path}' not implemented")

    def _answer(self, status: int, reason: str, body: bytes) -> None:
        self.send_response(status, " ".join(reason.split())[:400])
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _text(value: Any) -> str:
    return ("1" if value else "0") if isinstance(value, bool) else str(value)
