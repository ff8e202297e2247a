"""The home's own token, made once and readable by its owner only; and one for the page while it is up."""

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


def page_token() -> str:
    """A token for the page of one run, in memory only: it may trade, and not what is local."""
    return secrets.token_urlsafe(32)
