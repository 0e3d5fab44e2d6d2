"""The certificate authority of a mesh, made the way Dapr's sentry makes its own.

Sentry in a container could make it itself, but the sidecars want its root in their environment before they start. So it
is made here, and sentry only reads it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from crewmesh_tools.deploy.files import write_private_text

VALID = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
_SKEW = timedelta(minutes=15)


def ensure_issuer(folder: Path, *, trust_domain: str, namespace: str) -> bytes:
    """The root certificate, as PEM. A new authority is made when there is none or the old one runs out soon."""
    root_file = folder / "ca.crt"
    if not _still_good(root_file, folder / "issuer.crt", folder / "issuer.key"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        root, issuer, key = new_authority(trust_domain=trust_domain, namespace=namespace)
        # The root last: it is what tells that the others are there.
        for name, content in (("issuer.key", key), ("issuer.crt", issuer), ("ca.crt", root)):
            write_private_text(folder / name, content.decode())
    return root_file.read_bytes()


def new_authority(*, trust_domain: str, namespace: str) -> tuple[bytes, bytes, bytes]:
    """Root certificate, issuer certificate and the issuer's key. The root's key is forgotten: nobody can sign more."""
    root_key, issuer_key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    root_name = _organization(trust_domain)
    issuer_name = _organization(f"spiffe://{trust_domain}/ns/{namespace}/dapr-sentry")
    root = _certificate(root_name, root_name, root_key.public_key(), root_key)
    issuer = _certificate(issuer_name, root_name, issuer_key.public_key(), root_key)
    return (
        root.public_bytes(Encoding.PEM),
        issuer.public_bytes(Encoding.PEM),
        issuer_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _still_good(*files: Path) -> bool:
    if not all(path.exists() for path in files):
        return False
    certificates = [x509.load_pem_x509_certificate(path.read_bytes()) for path in files if path.suffix == ".crt"]
    return all(certificate.not_valid_after_utc > datetime.now(UTC) + RENEW_BEFORE for certificate in certificates)


def _organization(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: Ed25519PublicKey, signing_key: Ed25519PrivateKey
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(signer, critical=False)
        .sign(signing_key, algorithm=None)
    )
