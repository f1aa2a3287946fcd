"""The audio of one call: RTP both ways, one tone sent, the tones heard, RFC 4733 digits.

One clock ticks every 20 ms for all calls of a process; frames are made beforehand, so a call costs one
struct.pack and one sendto per tick. No RTCP is sent.
"""

import asyncio
import random
import socket
import struct
import time
from collections.abc import Callable

from softphone.rtp import HEADER, Reception
from softphone.srtp import Guard
from softphone.tones import FRAME, PLAN, RATE, SILENCE, Listener, frames

TICK = 0.02
SO_TIMESTAMPNS = 35  # Linux: struct timespec with each datagram; the socket module does not name it
TIMESPEC = struct.Struct("@ll")
DIGITS = "0123456789*#ABCD"
PORTS = (16384, 32766)


class Clock:
    """Calls `tick()` on every session at 20 ms; idle without sessions. A late tick is made up for, up to 100 ms."""

    def __init__(self) -> None:
        self.sessions: set[Media] = set()
        self._due = 0.0
        self._running = False
        self.late_ms_max = 0.0

    def add(self, session: "Media") -> None:
        self.sessions.add(session)
        if not self._running:
            self._running = True
            loop = asyncio.get_running_loop()
            self._due = loop.time()
            loop.call_soon(self._tick)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = now - self._due
        self.late_ms_max = max(self.late_ms_max, late * 1000)
        if late > 0.1:
            self._due = now
        while self._due <= now:
            for session in self.sessions:
                session.tick()
            self._due += TICK
        if self.sessions:
            loop.call_at(self._due, self._tick)
        else:
            self._running = False


class Media:
    """One RTP socket. Sends once `remote` is known and `sending` is set; always listens until closed."""

    def __init__(
        self, clock: Clock, ip: str, *, tone: int | None = None, freqs: tuple[int, ...] = PLAN,
        on_digit: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.clock, self.ip, self.tone = clock, ip, tone
        self.on_digit = on_digit
        self.remote: tuple[str, int] | None = None
        self.codec = 8
        self.dtmf_type: int | None = None
        self.sending = False
        self.received = Reception()
        self.listener = Listener(freqs)
        self.guard: Guard | None = None  # with SRTP
        self.wiretap = Listener(freqs)  # what somebody on the wire hears
        self.sent = 0
        self.digits = ""
        self.sequence = random.getrandbits(15)
        self.timestamp = random.getrandbits(31)
        self.ssrc = random.getrandbits(32)
        self._frame = 0
        self._marker = True
        self._outgoing: list[tuple[int, int]] = []  # digits still to send: (event code or -1 for a pause, ticks)
        self._event_ticks = 0
        self._last_event: tuple[int, int] | None = None
        self.socket, self.port = _open(ip)
        asyncio.get_running_loop().add_reader(self.socket, self._readable)

    def aim(self, ip: str, port: int, codec: int, dtmf_type: int | None, *, send: bool) -> None:
        """Send to this address from now on (or stop, when `send` is false or the port is 0)."""
        if (ip, port) != self.remote or send != self.sending:
            self._marker = True
            self.received.pause()
        self.remote = (ip, port) if port and ip != "0.0.0.0" else None  # noqa: S104
        self.codec, self.dtmf_type = codec, dtmf_type
        self.sending = send and self.remote is not None
        if self.socket.fileno() >= 0:
            self.clock.add(self)

    def send_digits(self, digits: str, *, ticks: int = 6, pause: int = 4) -> None:
        """Queue RFC 4733 events; each lasts `ticks` x 20 ms and is followed by `pause` x 20 ms of audio."""
        for digit in digits.upper():
            self._outgoing += [(DIGITS.index(digit), ticks), (-1, pause)]

    @property
    def digits_pending(self) -> bool:
        return bool(self._outgoing)

    def tick(self) -> None:
        """Send the next 20 ms."""
        remote = self.remote
        if not self.sending or remote is None:
            self.timestamp = (self.timestamp + FRAME) & 0xFFFFFFFF
            return
        if self._outgoing and self._outgoing[0][0] >= 0 and self.dtmf_type is not None:
            self._send_event(remote)
            return
        if self._outgoing:
            code, left = self._outgoing.pop(0)
            if code < 0 and left > 1:
                self._outgoing.insert(0, (code, left - 1))
        payload = frames(self.tone, self.codec)[self._frame] if self.tone else SILENCE[self.codec]
        self._frame = (self._frame + 1) % 50
        self._send(self.codec, payload, self.timestamp, remote)
        self.timestamp = (self.timestamp + FRAME) & 0xFFFFFFFF

    def _send_event(self, remote: tuple[str, int]) -> None:
        code, ticks = self._outgoing[0]
        self._event_ticks += 1
        self._marker = self._event_ticks == 1
        last = self._event_ticks >= ticks
        payload = struct.pack("!BBH", code, 0x8A if last else 0x0A, self._event_ticks * FRAME)
        for _ in range(3 if last else 1):  # the end is sent three times (RFC 4733 section 2.5.1.4)
            self._send(self.dtmf_type or 101, payload, self.timestamp, remote)
        if last:
            self._outgoing.pop(0)
            self.timestamp = (self.timestamp + ticks * FRAME) & 0xFFFFFFFF
            self._event_ticks = 0
            self._marker = True

    def _send(self, kind: int, payload: bytes, timestamp: int, remote: tuple[str, int]) -> None:
        marker = 0x80 if self._marker else 0
        self._marker = False
        packet = HEADER.pack(0x80, kind | marker, self.sequence, timestamp, self.ssrc) + payload
        self.sequence = (self.sequence + 1) & 0xFFFF
        if self.guard:
            packet = self.guard.seal(packet)
        try:
            self.socket.sendto(packet, remote)
            self.sent += 1
        except OSError:
            pass  # no route or a full buffer is the network's loss, and shows at the other end

    def _readable(self) -> None:
        for _ in range(64):
            try:
                data, ancillary, _flags, source = self.socket.recvmsg(2048, 64)
            except OSError:
                return
            arrival = time.time()
            if ancillary and len(ancillary[0][2]) >= TIMESPEC.size:
                seconds, nanoseconds = TIMESPEC.unpack_from(ancillary[0][2])
                arrival = seconds + nanoseconds / 1e9
            self.receive(data, arrival, f"{source[0]}:{source[1]}")

    def receive(self, data: bytes, arrival: float, source: str) -> None:
        """One datagram on the RTP port; anything that is no RTP, or is not sealed as agreed, is counted as invalid."""
        if len(data) < 12 or data[0] >> 6 != 2:
            self.received.invalid += 1
            return
        if data[1] & 0x7F in (0, 8):
            self.wiretap.feed(data[12 : 12 + FRAME], data[1] & 0x7F)
        if self.guard:
            opened = self.guard.open(data)
            if opened is None:
                self.received.invalid += 1
                return
            data = opened
        first, kind, sequence, timestamp, ssrc = HEADER.unpack_from(data)
        start = 12 + 4 * (first & 0x0F)
        if first & 0x10 and len(data) >= start + 4:
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        payload = data[start : len(data) - data[-1] if first & 0x20 else None]
        kind &= 0x7F
        if 72 <= kind <= 76 or not payload:  # RTCP muxed by mistake, or nothing in it
            self.received.invalid += 1
            return
        if not self.received.add(sequence, timestamp, ssrc, len(payload), arrival, source):
            return
        if kind in (0, 8):
            self.listener.feed(payload[:RATE], kind)
        elif kind == (self.dtmf_type or 101) and len(payload) >= 4 and payload[0] < len(DIGITS):
            event = (timestamp, payload[0])
            if event != self._last_event:
                self._last_event = event
                self.digits += DIGITS[payload[0]]
                if self.on_digit:
                    self.on_digit(DIGITS[payload[0]])

    def report(self) -> dict[str, object]:
        """Counts of both directions; see `Reception.report`."""
        remote = f"{self.remote[0]}:{self.remote[1]}" if self.remote else None
        return {
            "sent": self.sent,
            "local": f"{self.ip}:{self.port}",
            "remote": remote,
            "srtp": self.guard is not None,
            **self.received.report(),
        }

    def close(self) -> None:
        self.sending = False
        self.clock.sessions.discard(self)
        if self.socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.socket)
            self.socket.close()


def _open(ip: str) -> tuple[socket.socket, int]:
    """A socket on a free even port. OSError when the address is not ours or no port is free."""
    for _ in range(200):
        port = random.randrange(*PORTS, 2)  # noqa: S311
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            opened.bind((ip, port))
        except OSError as error:
            opened.close()
            if error.errno != 98:  # EADDRINUSE: try another
                raise
            continue
        opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        return opened, port
    raise OSError(98, f"no free RTP port on {ip}")
