"""Fetching as a telephone does: from its own address, with the login it was given when it is asked for one.

No error of this module names a path: the first one holds a secret.
"""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from functools import cache
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from lab.handset.parse import LARGEST
from lab.handset.settings import Place

SECONDS = 15.0
REDIRECTS = 5
_MOVED = (301, 302, 303, 307, 308)


class FetchError(Exception):
    """Nothing came: no connection, no certificate that is trusted, a refusal. The text says which."""


class AbsentError(FetchError):
    """404: the telephone goes on to the next name."""


@dataclass(frozen=True)
class Trust:
    """`authority`: the certificate (PEM) that a file gave. Unless the telephone `verifies`, any server will do."""

    authority: str = ""
    verifies: bool = False
    checks_name: bool = False

    def context(self) -> ssl.SSLContext:
        return _context(self)


@cache
def _context(trust: Trust) -> ssl.SSLContext:
    """FetchError for an authority that is no certificate: such a telephone trusts nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = trust.verifies and trust.checks_name
    context.verify_mode = ssl.CERT_REQUIRED if trust.verifies else ssl.CERT_NONE
    if trust.authority:
        try:
            context.load_verify_locations(cadata=trust.authority)
        except (ssl.SSLError, ValueError):
            raise FetchError("the authority that it was given is no certificate") from None
    return context


class Fetcher:
    """One telephone's visit to a server; use it in `async with`. `log` gets the name and the status of each try."""

    def __init__(self, address: str, agent: str, trust: Trust, log: list[tuple[str, int]]) -> None:
        self.log = log
        self._asked_for_login: set[str] = set()
        # Telephones open a connection for a visit and close it; none is shared with another telephone.
        connector = aiohttp.TCPConnector(local_addr=(address, 0), ssl=trust.context(), limit=1, force_close=False)
        self._session = aiohttp.ClientSession(
            connector=connector, headers={"User-Agent": agent}, timeout=aiohttp.ClientTimeout(total=SECONDS),
            auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
        )  # fmt: skip

    async def __aenter__(self) -> Fetcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, place: Place, name: str = "") -> bytes:
        """A file of a folder, or the place itself. AbsentError for 404, FetchError for anything else but the bytes."""
        try:
            return await self._get(place, name)
        except ValueError:
            raise FetchError("an address that makes no sense") from None

    async def _get(self, place: Place, name: str) -> bytes:
        url, home = place.url + name, urlsplit(place.url)
        for _ in range(REDIRECTS + 1):
            own = urlsplit(url)[:2] == home[:2]  # a login is for the server it was given for, and no other
            status, found, body = await self._ask(url, place, own and place.url in self._asked_for_login)
            if status == 401 and place.user and own and place.url not in self._asked_for_login:
                self._asked_for_login.add(place.url)
                status, found, body = await self._ask(url, place, True)
            self.log.append((name, status))
            if status == 200:
                return body
            if status in _MOVED and found:
                url = urljoin(url, found)
                continue
            if status == 404:
                raise AbsentError(f"{name or 'the file'} is not there")
            raise FetchError(f"the server answers {status} for {name or 'the file'}")
        raise FetchError(f"more than {REDIRECTS} redirects")

    async def _ask(self, url: str, place: Place, login: bool) -> tuple[int, str, bytes]:
        """(status, Location, body). Names go out as they are written: a telephone encodes nothing."""
        if urlsplit(url).scheme not in ("http", "https"):
            raise FetchError(f"{urlsplit(url).scheme or 'no'} scheme, which the telephone does not speak")
        basic = base64.b64encode(f"{place.user}:{place.password}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}"} if login else {}
        try:
            async with self._session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as answer:
                body = await answer.content.read(LARGEST + 1) if answer.status == 200 else b""
                while answer.status == 200 and len(body) <= LARGEST and not answer.content.at_eof():
                    body += await answer.content.read(LARGEST + 1 - len(body))
                return answer.status, answer.headers.get("Location", ""), body
        except aiohttp.ClientConnectorCertificateError:
            raise FetchError("the server's certificate is not of the authority that the telephone trusts") from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise FetchError(f"no answer: {type(error).__name__}") from None
