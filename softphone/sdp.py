"""SDP for one audio stream: PCMA or PCMU at 20 ms, telephone-event, and the directions of hold (RFC 4566, 3264)."""

from dataclasses import dataclass

from softphone import srtp
from softphone.srtp import Crypto

CODECS = {8: "PCMA", 0: "PCMU"}  # our order of preference when we offer
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
MIRROR = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
DTMF_TYPE = 101


class SdpError(ValueError):
    """There is no audio in this SDP that we can speak."""


@dataclass(frozen=True, slots=True)
class Session:
    """What the other side says: where to send audio, as what, and in which directions (as *it* sees them)."""

    ip: str
    port: int  # 0 = stream refused
    codec: int  # payload type 8 or 0
    direction: str = "sendrecv"
    dtmf: int | None = None  # payload type of telephone-event
    media: tuple[str, ...] = ("audio",)  # every m= line in order, for the answer
    protocols: tuple[str, ...] = ("RTP/AVP",)
    crypto: Crypto | None = None  # the first key offered for a suite that we speak
    secure: bool = False  # RTP/SAVP: SRTP or nothing

    @property
    def held(self) -> bool:
        return self.direction in ("sendonly", "inactive") or self.ip == "0.0.0.0"  # noqa: S104


def parse(body: bytes) -> Session:
    """The first audio stream. SdpError when there is none, or no codec in common."""
    ip, direction, section = "", "sendrecv", ""
    media: list[str] = []
    protocols: list[str] = []
    port, formats, names, found = 0, [], {}, False
    crypto: Crypto | None = None
    secure = False
    for line in body.decode("utf-8", "replace").splitlines():
        key, _, value = line.strip().partition("=")
        if key == "m":
            parts = value.split()
            if len(parts) < 4:
                raise SdpError("bad m= line")
            media.append(parts[0])
            protocols.append(parts[2])
            section = "audio" if parts[0] == "audio" and not found else "other"
            if section == "audio":
                found = True
                secure = "SAVP" in parts[2]
                port = _number(parts[1].split("/")[0], 65535)
                formats = [int(item) for item in parts[3:] if item.isascii() and item.isdigit()]
        elif section == "other":
            continue
        elif key == "c":
            parts = value.split()
            ip = parts[2].split("/")[0] if len(parts) == 3 else ip
        elif key == "a" and value in DIRECTIONS:
            direction = value
        elif key == "a" and value.startswith("rtpmap:"):
            kind, _, name = value[7:].partition(" ")
            names[kind.strip()] = name.strip().upper()
        elif key == "a" and value.startswith("crypto:"):
            crypto = crypto or srtp.read(value[7:])
    if not found:
        raise SdpError("no audio stream")
    if secure and port and not crypto:
        raise SdpError("no key for SRTP that we could use")
    known = (kind for kind in formats if kind in CODECS and names.get(str(kind), CODECS[kind])[:4] == CODECS[kind])
    codec = next(known, None)
    if codec is None and port:
        raise SdpError("no codec in common")
    dtmf = next((kind for kind in formats if names.get(str(kind)) == "TELEPHONE-EVENT/8000"), None)
    return Session(
        ip, port, 8 if codec is None else codec, direction, dtmf, tuple(media), tuple(protocols), crypto, secure
    )


def _number(text: str, limit: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= limit):
        raise SdpError("bad port")
    return int(text)


def build(
    ip: str, port: int, *, session: int, version: int, direction: str = "sendrecv",
    codecs: tuple[int, ...] = tuple(CODECS), dtmf: int | None = DTMF_TYPE, offer: Session | None = None,
    crypto: Crypto | None = None,
) -> bytes:  # fmt: skip
    """An offer, or the answer to `offer`: one line per offered stream, those other than the first audio refused.

    With `crypto` it is SRTP: an offer says so in its protocol, an answer keeps the one offered.
    """
    ours = [("audio", "RTP/SAVP" if crypto else "RTP/AVP")]
    types = [*codecs, *([dtmf] if dtmf is not None else [])]
    lines = ["v=0", f"o=- {session} {version} IN IP4 {ip}", "s=-", f"c=IN IP4 {ip}", "t=0 0"]
    done = False
    for kind, protocol in zip(offer.media, offer.protocols, strict=True) if offer else ours:
        if kind != "audio" or done:
            lines.append(f"m={kind} 0 {protocol} 0")
            continue
        done = True
        lines.append(f"m=audio {port} {protocol} {' '.join(map(str, types))}")
        lines += [f"a=rtpmap:{codec} {CODECS[codec]}/8000" for codec in codecs]
        if dtmf is not None:
            lines += [f"a=rtpmap:{dtmf} telephone-event/8000", f"a=fmtp:{dtmf} 0-16"]
        if crypto:
            lines.append(f"a=crypto:{crypto}")
        lines += ["a=ptime:20", f"a={direction}"]
    return ("\r\n".join(lines) + "\r\n").encode()


def answer_direction(offered: str, wanted: str = "sendrecv") -> str:
    """Our direction in the answer: what the offer allows, and no more than we want (RFC 3264 section 6.1)."""
    allowed = MIRROR[offered]
    sends = "send" in allowed and "send" in wanted
    receives = "recv" in allowed and "recv" in wanted
    if sends and receives:
        return "sendrecv"
    return "sendonly" if sends else "recvonly" if receives else "inactive"
