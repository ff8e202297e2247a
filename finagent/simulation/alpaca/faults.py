"""Misbehaviour on command: which request or stream message goes wrong next, how, and how often."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from finagent.simulation.alpaca.wire import Request

ACTIONS = (
    "drop_before",
    "drop_reply",
    "answer",
    "hang",
    "delay",
    "late",
    "garbage",
    "drip",
    "endless",
)
STREAM_ACTIONS = ("duplicate", "shuffle", "mute", "deaf", "close", "garbage", "refuse")


class BadOrderError(Exception):
    """A command of the control door that cannot be understood."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to the next ``times`` requests of a method and path (a prefix); ``times`` 0 is until cleared.

    ``drop_before``: the connection ends before anything is done · ``drop_reply``: all is done, the connection ends ·
    ``answer``: ``status``, ``headers`` and ``body`` go back; with ``is_done`` the request is carried out first ·
    ``hang``: no answer ever (``is_done`` as before) · ``delay``: the answer comes after ``seconds`` · ``late``: the
    answer is ``status`` now, the order is taken ``seconds`` later (0: by the command ``arrive``) · ``garbage``: done,
    and the body is no JSON · ``drip``: done, the body comes byte by byte, one in ``seconds`` · ``endless``: the body
    never ends.
    """

    on: str
    action: str
    times: int = 1
    status: int = 504
    seconds: float = 0.0
    is_done: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    symbol: str | None = None
    client_order_id: str | None = None

    def fits(self, request: Request) -> bool:
        """Whether the request is meant."""
        method, _, path = self.on.partition(" ")
        if method not in ("*", request.method) or not request.path.startswith(path or "/"):
            return False
        body = request.json()
        return (self.symbol is None or body.get("symbol") == self.symbol) and (
            self.client_order_id is None
            or str(body.get("client_order_id", "")).startswith(self.client_order_id)
        )


class Faults:
    """The misbehaviours that wait, and how often each kind has happened."""

    def __init__(self) -> None:
        self._waiting: deque[Fault] = deque()
        self.fired: dict[str, int] = {}

    def add(self, order: Mapping[str, object]) -> None:
        """Add one from its document; BadOrderError names what is wrong."""
        known = set(Fault.__slots__)
        wrong = sorted(set(order) - known)
        if wrong:
            raise BadOrderError(f"a fault has no {wrong[0]}: known are {', '.join(sorted(known))}")
        fault = Fault(**order)  # type: ignore[arg-type]
        if fault.action not in ACTIONS:
            raise BadOrderError(f"no action {fault.action!r}: known are {', '.join(ACTIONS)}")
        self._waiting.append(fault)

    def clear(self) -> None:
        """Nothing misbehaves any more."""
        self._waiting.clear()

    def next(self, request: Request) -> Fault | None:
        """The misbehaviour of a request, counted down."""
        for fault in self._waiting:
            if fault.fits(request):
                if fault.times == 1:
                    self._waiting.remove(fault)
                elif fault.times > 1:
                    fault.times -= 1
                self.count(fault.action)
                return fault
        return None

    def count(self, kind: str) -> None:
        """A misbehaviour has happened."""
        self.fired[kind] = self.fired.get(kind, 0) + 1
