"""Passwords, and what servers store of them."""

import base64
import hashlib
import hmac
import secrets

_SCRAM_ITERATIONS = 4096  # PostgreSQL's default
_SALT_BYTES = 16


def new_password() -> str:
    """A random password of 256 bits, safe in a URL."""
    return secrets.token_urlsafe(32)


def scram_verifier(password: str) -> str:
    """What PostgreSQL stores for SCRAM-SHA-256 (RFC 5803), so that it never sees the password.

    A password in an ALTER ROLE statement might be logged, or kept by pg_stat_statements.
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    salt_text, stored_text, server_text = (
        base64.b64encode(part).decode() for part in (salt, stored_key, server_key)
    )
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{salt_text}${stored_text}:{server_text}"


def acl_hash(password: str) -> str:
    """What an ACL file stores: ``#`` and the SHA-256 of the password."""
    return "#" + hashlib.sha256(password.encode()).hexdigest()
