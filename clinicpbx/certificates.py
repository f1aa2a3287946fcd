"""The clinic's own certificate authority and the PBX's certificate for SIP over TLS. Pure but for keys and the clock.

A secret `tls/ca` or `tls/pbx` is one text: the certificate, then its private key, both PEM.

Nobody renews by hand what must be typed into 150 telephones, so the authority outlives them: 20 years. The PBX's own
certificate reaches no telephone and costs nothing to make, but a clinic that is deployed once and left alone must not
fall silent: 10 years, and any deploy in the last 90 days makes a new one. Keys are ECDSA P-256: every telephone with
TLS 1.2 has it, and a restart that brings 150 handshakes at once takes a tenth of the time that RSA needs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clinic.model import Clinic
from clinic.secrets import TLS_CA, TLS_PBX, key_of

CA_DAYS, SERVER_DAYS, RENEW_DAYS = 20 * 365, 10 * 365, 90
_USAGE = dict.fromkeys(
    ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
     "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False,
)  # fmt: skip


def completed(have: Mapping[str, str], clinic: Clinic, now: dt.datetime | None = None) -> dict[str, str]:
    """`have` with both; what is there stays, but a PBX's certificate that no longer fits is made anew.

    It fits when this authority signed it, it names the voice address, and 90 days of it are left.
    """
    now = now or dt.datetime.now(dt.UTC)
    full, address, name = dict(have), clinic.networks.voice.pbx, clinic.hypervisor.vm.name
    if TLS_CA not in full:
        full[TLS_CA] = authority(name, now)
    if TLS_PBX not in full or not fits(full[TLS_PBX], full[TLS_CA], address, now):
        full[TLS_PBX] = server(full[TLS_CA], address, name, now)
    return full


def authority(pbx: str, now: dt.datetime) -> str:
    """A new authority: its certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{pbx} telephone authority"[:64])
    certificate = (
        _builder(name, name, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**(_USAGE | {"key_cert_sign": True, "crl_sign": True})), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _text(certificate, key)


def server(ca: str, address: IPv4Address, name: str, now: dt.datetime) -> str:
    """A new certificate for the PBX: telephones call it by its voice address, people by its name."""
    issuer, signer = read(ca), _key(ca)
    key = ec.generate_private_key(ec.SECP256R1())
    known_as = x509.SubjectAlternativeName([x509.IPAddress(address), x509.DNSName(name)])
    certificate = (
        _builder(_name(str(address)), issuer.subject, key, now, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**(_USAGE | {"digital_signature": True})), critical=True)
        .add_extension(
            # It calls telephones too, and some look at what the caller's certificate is for.
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(known_as, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return _text(certificate, key)


def fits(secret: str, ca: str, address: IPv4Address, now: dt.datetime) -> bool:
    """Whether telephones that trust `ca` will accept this certificate at `address`, and for 90 days to come."""
    certificate, issuer = read(secret), read(ca)
    try:
        certificate.verify_directly_issued_by(issuer)
        known_as = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # another signer, another kind of key, no names: each means a new one
        return False
    return address in known_as.get_values_for_type(x509.IPAddress) and days_left(secret, now) >= RENEW_DAYS


def days_left(pem: str, now: dt.datetime | None = None) -> int:
    """Whole days until the certificate ends; negative when it has."""
    return (read(pem).not_valid_after_utc - (now or dt.datetime.now(dt.UTC))).days


def read(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def fingerprint(pem: str) -> str:
    """SHA-256 of the certificate as telephones show it: `AB:CD:...`."""
    return read(pem).fingerprint(hashes.SHA256()).hex(":").upper()


def _key(secret: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(key_of(secret).encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - for the type checker: we made it
    return key


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    """Valid from yesterday on: a telephone's clock is seldom right before it has found its server."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _text(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> str:
    pem = serialization.Encoding.PEM
    form = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (certificate.public_bytes(pem) + key.private_bytes(*form)).decode()
