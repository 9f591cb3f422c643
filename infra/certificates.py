"""A certificate authority of a deployment's own, for brokers and clients that are nobody else's business.

Keys are of the curve P-256, in PKCS #8 without a password, in files that their owner alone may read. Whoever reads the
authority's key can be anyone to the broker: in a plant with an authority of its own, use that one.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 397
RENEWED_DAYS = 60
"""A certificate that ends sooner than this is made anew at the next start."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, as files in PEM form; `both` has one after the other, as Java wants them."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """A certificate authority that lies in `folder`, made at its first use."""

    def __init__(self, folder: Path) -> None:
        self.certificate_file = folder / "ca.pem"
        self._key_file = folder / "ca.key"
        self._folder = folder

    def ensure(self) -> None:
        """Make the authority, unless it is there and lasts."""
        if self._key_file.is_file() and _lasts(self.certificate_file):
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Sightline embedded broker's authority")
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            _dated(AUTHORITY_DAYS)
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        write_secret(self._key_file, _as_pem(key))
        write_secret(self.certificate_file, certificate.public_bytes(Encoding.PEM))

    def issue(self, folder: Path, name: str, hosts: Collection[str] = ()) -> Identity:
        """The identity of `name` in `folder`: what lies there while it lasts and fits, else a new one.

        With `hosts` (names or addresses) it can serve as those; without, it is for a client.
        """
        identity = Identity(folder / "certificate.pem", folder / "key.pem", folder / "both.pem")
        signer = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        if identity.both.is_file() and _lasts(identity.certificate) and _fits(identity.certificate, signer, hosts):
            return identity
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        signer_key = load_pem_private_key(self._key_file.read_bytes(), password=None)
        assert isinstance(signer_key, ec.EllipticCurvePrivateKey)
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else ())]
        builder = (
            _dated(CERTIFICATE_DAYS)
            .subject_name(_name(name))
            .issuer_name(signer.subject)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_host, hosts))), critical=False)
        certificate = builder.sign(signer_key, hashes.SHA256()).public_bytes(Encoding.PEM)
        write_secret(identity.key, _as_pem(key))
        write_secret(identity.certificate, certificate)
        write_secret(identity.both, _as_pem(key) + certificate)
        return identity


def write_secret(path: Path, content: bytes) -> None:
    """Replace the file in one step; at no moment may another account read it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    partial.replace(path)


def _dated(days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    # hosts of a plant are not always in step
    begin, end = now - timedelta(days=1), now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _as_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _lasts(file: Path) -> bool:
    if not file.is_file():
        return False
    ends = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    return ends - datetime.now(UTC) > timedelta(days=RENEWED_DAYS)


def _fits(file: Path, signer: x509.Certificate, hosts: Collection[str]) -> bool:
    """Whether the certificate is of this authority and for all these hosts."""
    found = x509.load_pem_x509_certificate(file.read_bytes())
    try:
        found.verify_directly_issued_by(signer)
    except Exception:  # noqa: BLE001 - whatever does not verify is replaced
        return False
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return not hosts
    return {_host(name) for name in hosts} <= set(names)
