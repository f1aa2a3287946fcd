"""Which files a model asks for, in its order, and what it calls itself. Pure.

Sources: the vendors' provisioning guides; what real firmware was seen to ask for. No hardware was tested.
"""

from __future__ import annotations

from dataclasses import dataclass

from clinic.phones import MODELS, Family

# Yealink's common files are numbered by model, not by name.
_YEALINK = {
    "T31G": 123, "T33G": 124, "T43U": 107, "T46U": 108, "T48U": 109, "T53": 95, "T53W": 95, "T54W": 96, "T57W": 97,
}  # fmt: skip
_VERSIONS = {
    Family.GRP261X: "1.0.5.15", Family.GXP21XX: "1.0.11.64", Family.GXP16XX: "1.0.7.64", Family.GRP260X: "1.0.5.56",
    Family.HT8XX: "1.0.49.2", Family.YEALINK: "124.86.0.40",
}  # fmt: skip
_FIRMWARE = {Family.GXP21XX: "{}fw.bin", Family.GXP16XX: "gxp1600fw.bin", Family.HT8XX: "ht8xxfw.bin"}
_OUI = 6  # hex digits of a MAC address that name its maker


@dataclass(frozen=True)
class Identity:
    """A telephone as it left the factory. `mac` is twelve lower hex digits. ValueError for what cannot be."""

    mac: str
    model: str

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"{self.model!r} is no model we know")
        if len(self.mac) != 12 or set(self.mac) - set("0123456789abcdef"):
            raise ValueError(f"{self.mac!r} is no MAC address of twelve lower hex digits")

    @property
    def family(self) -> Family:
        return MODELS[self.model].family

    @property
    def yealink(self) -> bool:
        return self.family is Family.YEALINK

    @property
    def hardware(self) -> bytes:
        return bytes.fromhex(self.mac)

    @property
    def version(self) -> str:
        return _VERSIONS[self.family]

    @property
    def colons(self) -> str:
        return ":".join(self.mac[n : n + 2] for n in range(0, 12, 2))

    @property
    def vendor_class(self) -> str:
        """DHCP option 60."""
        return "yealink" if self.yealink else f"Grandstream {self.model} dslforum.org"

    @property
    def http_agent(self) -> str:
        """User-Agent of its fetches."""
        if self.yealink:
            return f"Yealink SIP-{self.model} {self.version} {self.colons}"
        return f"Grandstream Model HW {self.model} SW {self.version} DevId {self.mac}"

    @property
    def sip_agent(self) -> str:
        """User-Agent of its SIP messages."""
        if self.yealink:
            return f"Yealink SIP-{self.model} {self.version} {self.mac}"
        return f"Grandstream {self.model} {self.version} {self.mac}"

    @property
    def firmware(self) -> str:
        """The file that it looks for below the firmware path."""
        if self.yealink:
            return ""
        return _FIRMWARE.get(self.family, "{}fw.bin").format(self.model.lower())


def choices(phone: Identity) -> tuple[tuple[str, ...], ...]:
    """Groups of names: of each group the first that is there is taken, and what a later group says goes on top."""
    if phone.yealink:
        return (f"y{_YEALINK[phone.model]:012d}.cfg",), (f"{phone.mac}.cfg",)
    one = f"cfg{phone.mac}"
    return ((one, f"{one}.xml", f"cfg{phone.model.lower()}.xml", "cfg.xml"),)
