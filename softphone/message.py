"""SIP messages: parse what arrives, build what is sent (RFC 3261 sections 7, 19, 20, 25).

Header names are kept in lower case and in their long form (compact forms of section 7.3.3 are expanded).
`parse` raises `MessageError` and nothing else, whatever the bytes: a phone must survive what the network sends.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import quote, unquote

COMPACT = {
    "v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length", "c": "content-type",
    "e": "content-encoding", "k": "supported", "s": "subject", "o": "event", "r": "refer-to", "b": "referred-by",
    "u": "allow-events", "x": "session-expires", "a": "accept-contact", "j": "reject-contact", "y": "identity",
}  # fmt: skip
SPELLING = {
    "call-id": "Call-ID", "cseq": "CSeq", "www-authenticate": "WWW-Authenticate", "mime-version": "MIME-Version",
    "p-asserted-identity": "P-Asserted-Identity", "min-se": "Min-SE", "rack": "RAck", "rseq": "RSeq",
}  # fmt: skip
REASONS = {
    100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted", 302: "Moved Temporarily",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 415: "Unsupported Media Type", 420: "Bad Extension", 480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here",
    489: "Bad Event", 491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented",
    503: "Service Unavailable", 600: "Busy Everywhere", 603: "Decline",
}  # fmt: skip
MAX_HEADERS = 256
COOKIE = "z9hG4bK"
_URI = re.compile(r"(?i)^(sips?):(?:([^@]*)@)?(\[[^\]]+\]|[^:;?\s]+)(?::(\d{1,5}))?(;[^?]*)?(\?.*)?$")
_TAG = re.compile(r";\s*tag\s*=\s*([^;,\s>]+)", re.I)
_serial = count(1)
_salt = f"{random.SystemRandom().getrandbits(48):x}"


class MessageError(ValueError):
    """The bytes are no SIP message; the text says why."""


def token() -> str:
    """An identifier unique in this run and unguessable enough for tags, branches and Call-IDs."""
    return f"{_salt}{next(_serial):x}{random.getrandbits(32):08x}"


@dataclass(slots=True)
class Message:
    """A request (`method`, `uri`) or a response (`status`, `reason`); headers in order, names in lower case."""

    method: str = ""
    uri: str = ""
    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def get(self, name: str, default: str = "") -> str:
        for key, value in self.headers:
            if key == name:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def get_list(self, name: str) -> list[str]:
        """Every value of a header that may hold several in one line (Via, Route, Contact, Supported...)."""
        return [part for value in self.get_all(name) for part in split_commas(value)]

    def add(self, name: str, value: str) -> None:
        self.headers.append((name.lower(), value))

    def set(self, name: str, value: str) -> None:
        self.headers = [item for item in self.headers if item[0] != name.lower()]
        self.headers.append((name.lower(), value))

    @property
    def call_id(self) -> str:
        return self.get("call-id")

    @property
    def cseq(self) -> tuple[int, str]:
        number, _, method = self.get("cseq").partition(" ")
        return int(number), method.strip()

    @property
    def from_tag(self) -> str:
        return tag_of(self.get("from"))

    @property
    def to_tag(self) -> str:
        return tag_of(self.get("to"))

    @property
    def via(self) -> str:
        """The topmost Via, also when several share a line."""
        return self.get("via").partition(",")[0].strip()

    @property
    def branch(self) -> str:
        """The transaction's identifier; for a peer older than RFC 3261, one made of what it does send."""
        branch = params_of(self.via).get("branch", "")
        return branch if branch.startswith(COOKIE) else f"{branch}|{self.call_id}|{self.cseq[0]}|{self.from_tag}"

    def build(self) -> bytes:
        """The bytes to send. CR and LF inside a value become spaces, so a value can never add a header."""
        if self.status:
            lines = [f"SIP/2.0 {self.status} {self.reason or REASONS.get(self.status, 'Unknown')}"]
        else:
            lines = [f"{self.method} {self.uri} SIP/2.0"]
        for name, value in self.headers:
            if name != "content-length":
                if "\r" in value or "\n" in value:
                    value = value.replace("\r", " ").replace("\n", " ")
                lines.append(f"{SPELLING.get(name) or name.title()}: {value}")
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(lines).encode("utf-8", "replace") + self.body

    def __str__(self) -> str:
        return f"{self.status} {self.reason}" if self.status else f"{self.method} {self.uri}"


def parse(data: bytes) -> Message:
    """Read one datagram. MessageError when it is not SIP, is cut short, or lacks a mandatory header."""
    data = data.lstrip(b"\r\n\0 \t")
    if not data:
        raise MessageError("empty (keep-alive)")
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        head, separator, body = data.partition(b"\n\n")
    lines = head.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    message = _start_line(lines[0])
    headers = message.headers
    for line in lines[1:]:
        if not line:
            continue
        if line[0] in " \t" and headers:  # a folded line continues the one before
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise MessageError("a header line without a colon")
        name = name.strip().lower()
        headers.append((COMPACT.get(name, name), value.strip()))
    if len(headers) > MAX_HEADERS:
        raise MessageError("too many headers")
    return _checked(message, body)


def _start_line(line: str) -> Message:
    if line.startswith("SIP/2.0 "):
        code, _, reason = line[8:].partition(" ")
        if not (code.isascii() and code.isdigit() and len(code) == 3 and 100 <= int(code) <= 699):
            raise MessageError("bad status code")
        return Message(status=int(code), reason=reason.strip())
    parts = line.split(" ")
    if len(parts) != 3 or parts[2].strip() != "SIP/2.0" or not parts[0].isascii() or not parts[0].isupper():
        raise MessageError("no SIP start line")
    return Message(method=parts[0], uri=parts[1])


def _checked(message: Message, body: bytes) -> Message:
    seen = {name for name, _ in message.headers}
    for name in ("via", "from", "to", "call-id", "cseq"):
        if name not in seen:
            raise MessageError(f"no {name} header")
    number, _, method = message.get("cseq").replace("\t", " ").partition(" ")
    if not (number.isascii() and number.isdigit() and len(number) <= 10 and method.strip()):
        raise MessageError("bad CSeq")
    if message.method and method.strip() != message.method:
        raise MessageError("CSeq names another method")
    length = message.get("content-length")
    if length:
        if not (length.isascii() and length.isdigit()) or len(length) > 7:
            raise MessageError("bad Content-Length")
        if int(length) > len(body):
            raise MessageError("body cut short")
        body = body[: int(length)]
    message.body = body
    return message


def split_commas(value: str) -> list[str]:
    """Split at commas outside quotes and angle brackets."""
    if "," not in value:
        return [value.strip()] if value.strip() else []
    parts, current, quoted, angle, escaped = [], "", False, False, False
    for char in value:
        if escaped:
            escaped = False
        elif char == "\\" and quoted:
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif not quoted and char in "<>":
            angle = char == "<"
        elif char == "," and not quoted and not angle:
            parts.append(current.strip())
            current = ""
            continue
        current += char
    return [part for part in [*parts, current.strip()] if part]


def tag_of(value: str) -> str:
    """The tag parameter of a From or To value (after the URI, never inside it)."""
    found = _TAG.search(value[value.rfind(">") + 1 :])
    return found[1] if found else ""


def params_of(value: str) -> dict[str, str]:
    """`;name=value` parameters after the URI part of a header value; names in lower case."""
    tail = value[value.rfind(">") + 1 :]
    pairs = (part.partition("=") for part in tail.split(";")[1:])
    return {name.strip().lower(): item.strip().strip('"') for name, _, item in pairs if name.strip()}


@dataclass(frozen=True, slots=True)
class Uri:
    """`sip:user@host:port;params?headers` or `tel:user` (host empty). port 0 = not given."""

    scheme: str
    user: str
    host: str
    port: int = 0
    params: str = ""
    headers: str = ""

    def __str__(self) -> str:
        if self.scheme == "tel":
            return f"tel:{self.user}{self.params}"
        user = quote(self.user, safe="+*-_.!~'()&=$,;?/") + "@" if self.user else ""
        return f"{self.scheme}:{user}{self.host}{f':{self.port}' if self.port else ''}{self.params}{self.headers}"


def parse_uri(text: str) -> Uri:
    """MessageError when the text is neither a sip:, sips: nor tel: URI."""
    text = text.strip()
    if text[:4].lower() == "tel:":
        user, mark, params = text[4:].partition(";")
        return Uri("tel", user, "", params=mark + params)
    found = _URI.match(text)
    if not found:
        raise MessageError("not a SIP URI")
    scheme, user, host, port, params, headers = found.groups()
    if port and int(port) > 65535:
        raise MessageError("bad port in URI")
    return Uri(scheme.lower(), unquote(user or ""), host, int(port or 0), params or "", headers or "")


@dataclass(frozen=True, slots=True)
class Address:
    """A From, To, Contact, P-Asserted-Identity... value: display name, URI text, parameters."""

    display: str
    uri: str
    params: dict[str, str]

    @property
    def user(self) -> str:
        try:
            return parse_uri(self.uri).user.split(";")[0]
        except MessageError:
            return ""


def parse_address(value: str) -> Address:
    """Never fails: what cannot be read comes back as an empty field."""
    value = value.strip()
    if value.startswith('"'):
        found = re.match(r'"((?:[^"\\]|\\.)*)"\s*', value)
        display = re.sub(r"\\(.)", r"\1", found[1]) if found else ""
        rest = value[found.end() :] if found else value
    else:
        before, angle, after = value.partition("<")
        display, rest = (before.strip(), angle + after) if angle else ("", value)
    if rest.startswith("<"):
        uri, _, _ = rest[1:].partition(">")
        return Address(display, uri, params_of(rest))
    uri, _, _ = rest.partition(";")  # without brackets the parameters belong to the header, not to the URI
    return Address(display, uri.strip(), params_of(rest))


def name_addr(uri: str, display: str = "", tag: str = "") -> str:
    """A From/To/Contact value with the display name quoted and escaped."""
    quoted = '"' + display.replace("\\", "\\\\").replace('"', '\\"') + '" ' if display else ""
    return f"{quoted}<{uri}>{f';tag={tag}' if tag else ''}"


def reply(request: Message, status: int, to_tag: str = "", extra: Iterable[tuple[str, str]] = ()) -> Message:
    """A response to the request: Via, From, To, Call-ID, CSeq and Record-Route copied (RFC 3261 section 8.2.6)."""
    response = Message(status=status, reason=REASONS.get(status, "Unknown"))
    for name, value in request.headers:
        if name in ("via", "from", "call-id", "cseq") or (name == "record-route" and status < 300):
            response.headers.append((name, value))
        elif name == "to":
            add = to_tag and status > 100 and not tag_of(value)
            response.headers.append((name, f"{value};tag={to_tag}" if add else value))
    for name, value in extra:
        response.add(name, value)
    return response
