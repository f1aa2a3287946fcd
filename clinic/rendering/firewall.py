"""The PBX's packet filter as one nft script: nobody comes in whom the description does not name. Source: nft(8).

Cards are not matched by name: a real machine's names are the kernel's choice, and the rules load before the network is
up. An address says which card is meant, and the reverse path (`fib`) drops what came by another: the PBX routes by
source address, so the kernel asks for the way back as the answer would take it, uplink by uplink.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, collapse_addresses

from clinic.accounts import SIP, SIPS
from clinic.model import Clinic

TABLE = "clinic"
RTP = "10000-12999"  # as templates/asterisk/rtp.conf.j2
SIP_RATE, SIP_BURST = 300, 1500
"""SIP packets a second from one address of the voice network, and how many at once before that counts.

A telephone sends under 1 a second, 20 in the second after a power cut. The verification registers 156 telephones from
one address (two requests each, and as many answers while they ring): 1500 at once are twice that. More is no telephone.
"""
TLS_RATE, TLS_BURST = 100, 1000  # new TLS connections a second; a telephone has one
PING_RATE, PING_BURST = 50, 100
HTTPS_TOGETHER = 24
"""Open connections of one address to provisioning. A telephone has one or two; who opens many and says nothing slowly
is seen by no limit of nginx's, which counts requests."""
ELSEWHERE = "an answer leaves by another card"
QUARANTINED = '"a telephone that nobody knows"'
KNOCKS = 16384  # strangers remembered at most, of each family


def firewall(clinic: Clinic) -> str:
    """The whole of /etc/nftables.conf. It replaces table `inet clinic` in one transaction and touches no other."""
    voice, management = clinic.networks.voice, clinic.networks.management
    trunks = [trunk for trunk in clinic.trunks if trunk.enabled]
    servers = [IPv4Network(trunk.server) for trunk in trunks]
    providers = [*servers, *(network for trunk in trunks for network in trunk.media)]
    gateways = [IPv4Network(uplink.gateway) for uplink in clinic.uplinks]
    # Never taken for a stranger: a provider whose trunk is switched off is none.
    known = [voice.cidr, management.cidr, *(uplink.address.network for uplink in clinic.uplinks), *providers]
    known += [IPv4Network(trunk.server) for trunk in clinic.trunks]
    sip = f"ip saddr limit rate over {SIP_RATE}/second burst {SIP_BURST} packets"
    tls = f"ip saddr limit rate over {TLS_RATE}/second burst {TLS_BURST} packets"
    knocked = f"{{ 22, {SIP}, {SIPS} }}"
    quarantine = clinic.provisioning.quarantine
    https = "ct state new add @https { ip saddr ct count over " + str(HTTPS_TOGETHER) + " }"
    return f"""\
#!/usr/sbin/nft -f
# Rendered by the deploy: clinic/rendering/firewall.py. Other tables (bans, verification) are not ours and stay.
table inet {TABLE} {{}}
delete table inet {TABLE}
table inet {TABLE} {{
    {_networks("uplinks", [IPv4Network(uplink.address.ip) for uplink in clinic.uplinks])}
    {_networks("servers", servers)}
    {_networks("providers", providers)}
    {_networks("pingers", [voice.cidr, management.cidr, *gateways])}
    {_networks("known", known)}
    {_networks("sip_peers", [IPv4Network("127.0.0.0/8"), voice.cidr, *providers])}
    {_dynamic("telephones", "ipv4_addr", "1m", 4096)}
    {_dynamic("tls", "ipv4_addr", "1m", 4096)}
    set https {{ type ipv4_addr; size 4096; flags dynamic; }}
    # Strangers who knocked at SIP or SSH: evidence for people, never asked by a rule.
    {_dynamic("knocks", "ipv4_addr", "1d", KNOCKS, "counter")}
    {_dynamic("knocks6", "ipv6_addr", "1d", KNOCKS, "counter")}

    chain input {{
        type filter hook input priority filter; policy drop;
        iifname "lo" accept{_asks_for_an_address(clinic)}
        ct state invalid counter drop
        # What we asked is answered where we asked it: the watchdog asks by the card, whatever the routes say meanwhile.
        meta nfproto ipv4 ct direction original fib saddr . iif oif missing counter drop comment "{ELSEWHERE}"
        # Before what is established: a flood by UDP is one connection. Providers have no limit: anybody can
        # write their address on a packet, and would cut them off.
        ip saddr {voice.cidr} udp dport {SIP} update @telephones {{ {sip} }} counter drop comment "SIP flood"
        ip saddr {voice.cidr} tcp dport {SIPS} ct state new update @tls {{ {tls} }} counter drop comment "TLS flood"
        # A flow by UDP that the other side began is asked again with every packet: changed rules hold for it at once.
        ct state established,related meta l4proto != udp accept
        ct state related accept
        ct state established ct direction reply accept
        ip daddr {voice.pbx} ip saddr {voice.cidr} jump voice
        ip daddr {management.pbx} ip saddr {management.cidr} jump management
        ip daddr @uplinks jump uplinks
        icmp type echo-request ip saddr @pingers limit rate {PING_RATE}/second burst {PING_BURST} packets accept
        meta nfproto ipv6 jump six
        counter comment "dropped"
    }}
    chain voice {{
        tcp dport 443 {https} counter drop comment "HTTPS flood"
        tcp dport 443 accept comment "provisioning"{_dhcp_of_known(clinic)}
        {f"ip saddr {quarantine} counter drop comment {QUARANTINED}" if quarantine else "# no quarantine"}
        udp dport {{ {SIP}, {RTP} }} accept
        tcp dport {SIPS} accept
        udp dport 123 accept
    }}
    chain management {{
        tcp dport 22 accept
        udp dport 123 accept
    }}
    chain uplinks {{
        ip saddr @servers udp dport {SIP} accept
        ip saddr @providers udp dport {RTP} accept
        ip saddr != @known meta l4proto {{ tcp, udp }} th dport {knocked} update @knocks {{ ip saddr }}
    }}
    chain six {{
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 accept
        ip6 saddr {{ fe80::/10, fc00::/7 }} return
        meta l4proto {{ tcp, udp }} th dport {knocked} update @knocks6 {{ ip6 saddr }}
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
    }}
    chain output {{
        type filter hook output priority filter; policy accept;
        # Whatever the dial plan is made to dial: Asterisk talks to telephones and providers, and to nobody else.
        meta skuid "asterisk" meta l4proto {{ tcp, udp }} jump asterisk
    }}
    chain asterisk {{
        ip saddr {voice.pbx} ip daddr != {voice.cidr} counter drop comment "a telephone's contact is no provider"
        ip daddr != @sip_peers counter drop comment "Asterisk to a stranger"
        ip6 daddr != ::1 counter drop comment "Asterisk to a stranger"
    }}
}}
"""


def _asks_for_an_address(clinic: Clinic) -> str:
    """Kea reads and writes raw packets, which no rule sees: these are the kernel's copies of them.

    Let in, they end at Kea's own deaf socket. Else the telephones' rush after a power cut would look like an attack.
    """
    if not clinic.provisioning.dhcp:
        return ""
    asking = f"ip saddr {{ 0.0.0.0, {clinic.networks.voice.cidr} }} ip daddr 255.255.255.255"
    return f'\n        {asking} udp sport 68 udp dport 67 accept comment "DHCP"'


def _dhcp_of_known(clinic: Clinic) -> str:
    return '\n        udp sport 68 udp dport 67 accept comment "DHCP"' if clinic.provisioning.dhcp else ""


def _elements(networks: Iterable[IPv4Network]) -> str:
    texts = (str(n.network_address if n.prefixlen == 32 else n) for n in sorted(collapse_addresses(networks)))
    return f"{{ {', '.join(texts)} }}"


def _networks(name: str, networks: Iterable[IPv4Network]) -> str:
    found = list(networks)
    elements = f" elements = {_elements(found)};" if found else ""
    return f"set {name} {{ type ipv4_addr; flags interval;{elements} }}"


def _dynamic(name: str, kind: str, timeout: str, size: int, more: str = "") -> str:
    more = f" {more};" if more else ""
    return f"set {name} {{ type {kind}; size {size}; flags dynamic,timeout; timeout {timeout};{more} }}"
