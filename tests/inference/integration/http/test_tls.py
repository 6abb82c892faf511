"""TLS: a server is trusted by its certificate, or not at all."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from promptmill.runtime.errors import Misconfigured
from support.bad_answers import chat
from support.bad_server import BadServer
from support.http_engines import generating, question


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server(certificate: Path) -> BadServer:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return BadServer(lambda _: chat("Yes."), tls=context)


async def test_a_server_with_a_certificate_of_our_authority_is_asked(certificate: Path) -> None:
    async with server(certificate) as tls, generating(tls, ca_file=certificate) as engine:
        assert (await engine.generate(question())).text == "Yes."


async def test_a_server_that_nobody_vouches_for_ends_the_start(certificate: Path) -> None:
    async with server(certificate) as tls:
        with pytest.raises(Misconfigured, match="--ca-file"):
            async with generating(tls):
                pass


async def test_a_file_without_certificates_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(Misconfigured, match=r"ca_file .*PEM"):
        async with generating("https://localhost/v1", ca_file=tmp_path / "empty.pem"):
            pass
