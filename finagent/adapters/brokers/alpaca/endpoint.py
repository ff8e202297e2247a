"""Where Alpaca is and which keys let us in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from finagent.ports import BrokerAccessError

PAPER, LIVE, LOCAL = "paper", "live", "local"
URLS = {PAPER: "https://paper-api.alpaca.markets", LIVE: "https://api.alpaca.markets"}
KEY, SECRET = "ALPACA_API_KEY", "ALPACA_SECRET_KEY"
MOST_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A kind (``paper``, ``live``, or ``local`` for a server on this machine) and its REST address."""

    kind: str
    url: str

    @property
    def stream_url(self) -> str:
        """Where the trade updates are."""
        return self.url.replace("http", "ws", 1) + "/stream"


def endpoint(name: str) -> Endpoint:
    """The endpoint of ``paper``, ``live``, or an ``http://127.0.0.1:PORT``.

    ValueError for any other address: the keys would go to whoever listens there.
    """
    if name in URLS:
        return Endpoint(name, URLS[name])
    try:
        parts = urlsplit(name)
        is_local = parts.scheme == "http" and parts.hostname == "127.0.0.1" and parts.port is not None
    except ValueError:
        is_local = False
    if not is_local or parts.username or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            f"{name!r} is none of paper, live and http://127.0.0.1:PORT; keys are sent nowhere else"
        )
    return Endpoint(LOCAL, f"http://127.0.0.1:{parts.port}")


@dataclass(frozen=True, slots=True)
class Keys:
    """What an account is opened with; never printed."""

    key: str = field(repr=False)
    secret: str = field(repr=False)


def keys_from(environment: Mapping[str, str]) -> Keys:
    """The keys from ALPACA_API_KEY and ALPACA_SECRET_KEY, or from the files that these names with _FILE name.

    BrokerAccessError when one is missing, unreadable or no key at all.
    """
    return Keys(_secret(environment, KEY), _secret(environment, SECRET))


def _secret(environment: Mapping[str, str], name: str) -> str:
    mend = f"put it into the environment as {name}, or into a file named by {name}_FILE"
    value, path = environment.get(name), environment.get(f"{name}_FILE")
    if value is None and path:
        try:
            value = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise BrokerAccessError(f"{name}_FILE = {path} cannot be read: {reason}", mend) from None
    value = (value or "").strip()
    if not value:
        raise BrokerAccessError(f"{name} is not set", mend)
    if not value.isascii() or not value.isprintable() or " " in value or len(value) > MOST_CHARACTERS:
        raise BrokerAccessError(f"{name} is no key: it has blanks, controls or {len(value)} characters", mend)
    return value
