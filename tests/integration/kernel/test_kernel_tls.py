"""TLS and mutual TLS to the real server, under a throw-away authority."""

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bus.connection import Connection, connect
from bus.errors import DisconnectedError
from kernel.config import BusSettings, ConfigurationError
from kernel.embedded.nats import NatsServer, NatsTls
from kernel.embedded.ports import free_port
from kernel.hosted import bus_tls, open_connection
from kernel.migrator import STORE, MigrationError, migrate


class Pair(NamedTuple):
    """A certificate and its key, in files."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates for an hour."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        folder.mkdir()
        self.file = folder / "ca.pem"
        self.file.write_bytes(_pem(self._signed(self._name, self._key, is_authority=True)))

    def pair(self, name: str) -> Pair:
        """Make a pair for a server on loopback, or for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        made.cert.write_bytes(_pem(self._signed(subject, key, is_authority=False)))
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return made

    def _signed(self, subject: x509.Name, key: Any, *, is_authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
            .add_extension(own, critical=False)
            .add_extension(signer, critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority that both sides trust."""
    return Authority(tmp_path / "authority")


@pytest.fixture
async def server(tmp_path: Path, authority: Authority) -> AsyncIterator[NatsServer]:
    """A server that shows a certificate and asks for one."""
    pair = authority.pair("server")
    tls = NatsTls(cert=pair.cert, key=pair.key, clients_ca=authority.file)
    server = NatsServer(
        tmp_path / "nats", port=free_port(), monitor_port=free_port(), durable=False, tls=tls
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def connected(
    server: NatsServer, *, ca: Path, pair: Pair | None = None
) -> AsyncIterator[Connection]:
    """Connect as a host would, but give up soon."""
    cert, key = pair or ("", "")
    tls = bus_tls(settings(server, tls_ca=str(ca), tls_cert=str(cert), tls_key=str(key)))
    seed = server.keys.seed_file("admin")
    connection = await connect(server.url, name="test", seed_file=seed, tls=tls, within=1.0)
    try:
        yield connection
    finally:
        await connection.close()


def settings(server: NatsServer, **tls: Any) -> BusSettings:
    return BusSettings(servers=server.url, keys_dir=str(server.keys.folder), **tls)


async def test_both_sides_show_a_certificate(server: NatsServer, authority: Authority) -> None:
    pair = authority.pair("client")
    bus = settings(
        server, tls_ca=str(authority.file), tls_cert=str(pair.cert), tls_key=str(pair.key)
    )

    connection = await open_connection(bus, "admin", "test")
    await connection.flush()
    is_required = connection.client._server_info["tls_required"]
    await connection.close()

    assert is_required


async def test_who_shows_no_certificate_is_not_let_in(
    server: NatsServer, authority: Authority
) -> None:
    with pytest.raises(DisconnectedError):
        async with connected(server, ca=authority.file):
            pass


async def test_a_certificate_of_another_authority_is_not_taken(
    server: NatsServer, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger").pair("client")

    with pytest.raises(DisconnectedError):
        async with connected(server, ca=authority.file, pair=stranger):
            pass


async def test_a_server_of_another_authority_is_not_spoken_to(
    server: NatsServer, authority: Authority, tmp_path: Path
) -> None:
    client, strangers = authority.pair("client"), Authority(tmp_path / "stranger")

    with pytest.raises(DisconnectedError):
        async with connected(server, ca=strangers.file, pair=client):
            pass


def test_a_certificate_without_its_key_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.touch()

    with pytest.raises(ConfigurationError, match="both or neither"):
        bus_tls(BusSettings(servers="x", tls_ca=str(cert), tls_cert=str(cert)))


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="there is no file /nowhere/ca"):
        bus_tls(BusSettings(servers="x", tls_ca="/nowhere/ca"))


async def test_migrations_follow_the_sslmode_of_the_address(database: str) -> None:
    await migrate(f"{database}?sslmode=prefer", STORE)

    with pytest.raises(MigrationError, match="SSL"):
        await migrate(f"{database}?sslmode=require", STORE)
