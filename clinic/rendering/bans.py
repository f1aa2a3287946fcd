"""fail2ban's jails and whom they spare, as the text of jail.local. Source: jail.conf(5).

Bans live in nftables sets of fail2ban's own table, in front of the clinic's packet filter, so that replacing the filter
loses none. UDP has no proof of who sent it: what must never be cut off by somebody else's packets is spared by address.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses, summarize_address_range

from clinic.model import Clinic

TABLE = "clinic-bans"
PRIORITY = -20
"""Before the packet filter (0) and before what verification puts in front of it (-10)."""
NFTABLES = f'type=custom, rule_match-custom="", table={TABLE}, chain=input, chain_priority={PRIORITY}, blocktype=drop'
"""Every packet of a banned address is dropped, whatever it is."""
WEEK = 7 * 24 * 3600


@dataclass(frozen=True)
class Jail:
    """`lines` in `window` seconds make a ban. An attempt can leave more than one line: see JAILS."""

    name: str
    filter: str
    lines: int
    window: int
    logs: tuple[str, ...] = ()
    more: str = ""


ASTERISK = ("/var/log/asterisk/security.log", "/var/log/asterisk/messages.log")
JAILS = (
    # A wrong password leaves two lines, one in each log: 15 attempts.
    Jail("sip-auth", "clinic-asterisk-auth", 30, 600, ASTERISK),
    # An unknown account leaves two lines, and four more when it answers the challenge: 17 to 50 attempts. A whole
    # `clinicpbx verify` leaves 30 from one address, with borrowed telephones 6.
    Jail("sip-scan", "clinic-asterisk-scan", 100, 600, ASTERISK),
    Jail(
        "sshd", "sshd[mode=aggressive]", 5, 600,
        more="backend = systemd\njournalmatch = _SYSTEMD_UNIT=ssh.service + _COMM=sshd + _COMM=sshd-session",
    ),
    Jail("provisioning", "clinic-nginx", 10, 600, ("/var/log/nginx/provisioning.access.log",)),
    Jail("panel", "clinic-nginx", 10, 600, ("/var/log/nginx/panel.access.log",)),
)  # fmt: skip


def spared(clinic: Clinic) -> tuple[str, ...]:
    """Networks that can never be banned: loopback, management, the providers and the telephones' own addresses.

    Not the rest of the voice network: a laptop on a wall socket is a stranger.
    """
    voice = clinic.networks.voice
    networks: Iterable[IPv4Network] = (
        IPv4Network("127.0.0.0/8"),
        clinic.networks.management.cidr,
        *summarize_address_range(voice.phones_from, voice.phones_to),
        *(IPv4Network(trunk.server) for trunk in clinic.trunks),
        *(network for trunk in clinic.trunks for network in trunk.media),
    )
    return (*map(str, collapse_addresses(networks)), "::1")


def jails(clinic: Clinic) -> str:
    """jail.local, which overrides Debian's jail.conf and jail.d/*.conf."""
    return f"""\
# Rendered by the deploy: clinic/rendering/bans.py
[DEFAULT]
ignoreip = {" ".join(spared(clinic))}
ignoreself = true
usedns = no
backend = polling
logencoding = utf-8
# 10 minutes, then twice as long each time, whatever jail it was, up to a week.
bantime = 10m
bantime.increment = true
bantime.factor = 1
bantime.maxtime = {WEEK}
bantime.overalljails = true
maxmatches = 3
banaction = nftables[{NFTABLES}]
banaction_allports = %(banaction)s
action = %(banaction)s
         clinic-tell
{"".join(_section(jail) for jail in JAILS)}"""


def _section(jail: Jail) -> str:
    logs = f"logpath = {chr(10).join(('          ' if i else '') + log for i, log in enumerate(jail.logs))}\n"
    return (
        f"\n[{jail.name}]\nenabled = true\nfilter = {jail.filter}\nmaxretry = {jail.lines}\nfindtime = {jail.window}\n"
        f"{logs if jail.logs else ''}{jail.more + chr(10) if jail.more else ''}"
    )
