"""A stack whose broker and Redis ask who comes: users, certificates, and the settings of one user."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from streams.local.kafka_server import Secured
from streams.local.ports import free_ports

ADMIN = "admin"


class Certificate:
    """A certificate of 127.0.0.1 that vouches for itself, and its key; `both` holds the two, as Kafka wants it."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key, self.both = folder / "server.crt", folder / "server.key", folder / "server.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        public = made.public_bytes(Encoding.PEM)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.certificate.write_bytes(public)
        self.key.write_bytes(private)
        self.both.write_bytes(private + public)


class Guarded:
    """The users of a guarded broker, and how each connects."""

    def __init__(self, folder: Path, users: list[str]) -> None:
        self.folder = folder
        self.certificate = Certificate(folder)
        self.passwords = {user: f"secret-of-{user}-7f3a" for user in users}
        for user, password in self.passwords.items():
            (folder / f"{user}.password").write_text(password + "\n")
        (self.port,) = free_ports(1)
        self.secured = Secured(self.port, self.passwords, self.certificate.both, ADMIN)

    def settings_of(self, user: str, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
        """The settings by which a user connects."""
        return {
            "kafka.bootstrap": f"127.0.0.1:{self.port}",
            "kafka.security": "sasl_ssl",
            "kafka.mechanism": mechanism,
            "kafka.user": user,
            "kafka.password_file": str(self.folder / f"{user}.password"),
            "kafka.ca_file": str(self.certificate.certificate),
        }


def as_environ(settings: dict[str, str]) -> dict[str, str]:
    return {f"THRONG_{name.replace('.', '_')}".upper(): value for name, value in settings.items()}
