"""The home's local token: made once, readable by its owner only, known to the server by its SHA-256."""

import hashlib
import os
import secrets
from pathlib import Path

TOKEN_FILE = "token"


def local_token(home: Path) -> str:
    """The token of a home, made with mode 0600 where there is none; OSError when the home is not writable."""
    path = home / TOKEN_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        kept = path.read_text(encoding="ascii", errors="replace").strip()
        if len(kept) >= 32:
            path.chmod(0o600)
            return kept
        path.unlink(missing_ok=True)
        return local_token(home)
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{token}\n")
    return token


def token_hash(token: str) -> str:
    """SHA-256 of a token in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()
