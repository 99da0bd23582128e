"""Secrets sealed with a passphrase: scrypt makes the key, Fernet encrypts and signs."""

import os
from base64 import urlsafe_b64encode
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from kernel.errors import Invalid

MAGIC: Final = b"realserv-sealed-1\n"
SALT_BYTES: Final = 16
SHORTEST: Final = 12


class PassphraseError(Invalid):
    """The passphrase is missing, too short, or not the one that sealed the file."""

    code = "kernel.passphrase"
    title = "The passphrase does not do"


def seal(content: bytes, passphrase: str) -> bytes:
    """Encrypt; raises PassphraseError when the passphrase has fewer than 12 characters."""
    if len(passphrase) < SHORTEST:
        raise PassphraseError(f"The passphrase must have at least {SHORTEST} characters")
    salt = os.urandom(SALT_BYTES)
    return MAGIC + salt + Fernet(_key(passphrase, salt)).encrypt(content)


def unseal(sealed: bytes, passphrase: str) -> bytes:
    """Decrypt; raises PassphraseError when the passphrase is another or the file was changed."""
    body = sealed.removeprefix(MAGIC)
    try:
        return Fernet(_key(passphrase, body[:SALT_BYTES])).decrypt(body[SALT_BYTES:])
    except InvalidToken as error:
        raise PassphraseError(
            "The passphrase is not the one of this back-up, or the file was changed"
        ) from error


def _key(passphrase: str, salt: bytes) -> bytes:
    derived = Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase.encode())
    return urlsafe_b64encode(derived)
