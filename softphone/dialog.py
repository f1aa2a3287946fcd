"""A SIP dialog: what its two sides have agreed to call each other, and requests inside it (RFC 3261 section 12)."""

from dataclasses import dataclass, field

from softphone.message import Message, MessageError, Uri, parse_address, parse_uri
from softphone.transaction import new_via
from softphone.wire import Addr

USER_AGENT = "clinic-softphone"
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REFER, NOTIFY, SUBSCRIBE, MESSAGE"


@dataclass(slots=True)
class Dialog:
    """`local` and `remote` are whole From/To values with their tags; `target` is the other side's Contact URI."""

    call_id: str
    local: str
    remote: str
    local_tag: str
    remote_tag: str
    target: str
    fallback: Addr  # where to send when the target's host is a name
    routes: list[str] = field(default_factory=list)
    cseq: int = 0
    remote_cseq: int = 0

    @property
    def addr(self) -> Addr:
        return addr_of(parse_address(self.routes[0]).uri if self.routes else self.target, self.fallback)

    def request(self, method: str, sent_by: str, *, cseq: int | None = None) -> Message:
        """A request inside the dialog; `cseq` only for the ACK that repeats its INVITE's number."""
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        message = Message(method=method, uri=self.target)
        message.headers = [("via", new_via(sent_by)), ("max-forwards", "70"), ("from", self.local)]
        message.headers += [("to", self.remote), ("call-id", self.call_id), ("cseq", f"{cseq} {method}")]
        message.headers += [("route", route) for route in self.routes]
        message.headers.append(("user-agent", USER_AGENT))
        return message

    def refresh_target(self, message: Message) -> None:
        """A re-INVITE, UPDATE or their 2xx may move the other side's Contact."""
        contacts = message.get_list("contact")
        if contacts:
            self.target = parse_address(contacts[0]).uri


def from_response(request: Message, response: Message, fallback: Addr) -> Dialog:
    """The dialog as its caller sees it."""
    contacts = response.get_list("contact")
    return Dialog(
        request.call_id, request.get("from"), response.get("to"), request.from_tag, response.to_tag,
        parse_address(contacts[0]).uri if contacts else request.uri, fallback,
        list(reversed(response.get_list("record-route"))), request.cseq[0],
    )  # fmt: skip


def from_request(request: Message, local_tag: str, source: Addr) -> Dialog:
    """The dialog as its callee sees it."""
    contacts = request.get_list("contact")
    local = request.get("to")
    return Dialog(
        request.call_id, local if request.to_tag else f"{local};tag={local_tag}", request.get("from"), local_tag,
        request.from_tag, parse_address(contacts[0]).uri if contacts else parse_address(request.get("from")).uri,
        source, request.get_list("record-route"), 0, request.cseq[0],
    )  # fmt: skip


def addr_of(uri: str, fallback: Addr) -> Addr:
    """IP and port of a URI; the fallback when the URI has a name instead of an address (no DNS in a lab)."""
    try:
        parsed = parse_uri(uri)
    except MessageError:
        return fallback
    octets = parsed.host.split(".")
    if len(octets) != 4 or not all(item.isascii() and item.isdigit() and int(item) < 256 for item in octets):
        return fallback
    return parsed.host, parsed.port or (5061 if is_secure(parsed) else 5060)


def is_secure(uri: Uri) -> bool:
    """Whether the URI asks for TLS."""
    return uri.scheme == "sips" or ";transport=tls" in uri.params.lower()
