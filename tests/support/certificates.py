"""An authority for tests, and certificates for loopback that it signs; as PEM files."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from promptmill.devstack import security


class Authority:
    """An authority whose certificate is ``ca.pem`` in the folder.

    Args:
        folder: of all its files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        signed = security._signed(f"{security._NAME}-ca", self._key, self._key, is_authority=True)
        self._pem: bytes = signed.public_bytes(Encoding.PEM)
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._pem)

    def certificate(self, name: str, password: str = "") -> Path:
        """A file with the key of this name, its certificate, and that of the authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = security._signed(name, key, self._key, is_authority=False)
        encryption: KeySerializationEncryption = NoEncryption()
        if password:
            encryption = BestAvailableEncryption(password.encode())
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        file = self._folder / f"{name}.pem"
        file.write_bytes(secret + signed.public_bytes(Encoding.PEM) + self._pem)
        return file
