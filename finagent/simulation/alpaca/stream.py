"""The trade-updates stream: authentication, listening, events in order or, on command, otherwise."""

import asyncio
import json
from collections.abc import Callable

from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.server import ServerProtocol

from finagent.simulation.alpaca.documents import Document
from finagent.simulation.alpaca.faults import Faults
from finagent.simulation.alpaca.wire import Request

CHUNK = 65_536


class Client:
    """One connected stream."""

    def __init__(self, writer: asyncio.StreamWriter, check: Callable[[object, object], bool]) -> None:
        self._protocol = ServerProtocol()
        self._writer = writer
        self._check = check
        self.is_listening = False
        self.is_mute = False
        self.is_deaf = False
        self._is_authorized = False

    def receive(self, data: bytes) -> bool:
        """Take bytes from the other side; False when the connection is over."""
        if self.is_deaf:
            return True
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Handshake):
                self._protocol.send_response(self._protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
                self._command(event.data)
        return self.flush()

    def send(self, document: object) -> None:
        """A message in a binary frame, as Alpaca's paper endpoint does."""
        if not self.is_mute and not self.is_deaf:
            self._protocol.send_binary(json.dumps(document).encode())
            self.flush()

    def send_text(self, text: str) -> None:
        """A text frame."""
        self._protocol.send_text(text.encode())
        self.flush()

    def close(self) -> None:
        """End the stream with a close frame."""
        self._protocol.send_close(1001, "going away")
        self.flush()

    def flush(self) -> bool:
        """Write what the protocol has to say."""
        for data in self._protocol.data_to_send():
            if not data:
                self._writer.transport.abort()
                return False
            self._writer.write(data)
        return True

    def _command(self, data: bytes | bytearray | memoryview) -> None:
        try:
            message = json.loads(bytes(data))
        except ValueError:
            self.send({"action": "error", "data": {"error_message": "invalid JSON"}})
            return
        action = message.get("action") if isinstance(message, dict) else None
        if action in ("auth", "authenticate"):
            given = message.get("data", message)
            key, secret = given.get("key", given.get("key_id")), given.get("secret", given.get("secret_key"))
            self._is_authorized = self._check(key, secret)
            self._tell_authorization("authenticate")
        elif action == "listen" and not self._is_authorized:
            self._tell_authorization("listen")
        elif action == "listen":
            streams = [s for s in message.get("data", {}).get("streams", ()) if s == "trade_updates"]
            self.is_listening = bool(streams)
            self.send({"stream": "listening", "data": {"streams": streams}})

    def _tell_authorization(self, action: str) -> None:
        status = "authorized" if self._is_authorized else "unauthorized"
        self.send({"stream": "authorization", "data": {"status": status, "action": action}})


class Streams:
    """All connected streams and what is to go wrong with the next events."""

    def __init__(self, check: Callable[[object, object], bool], faults: Faults) -> None:
        self._check, self._faults = check, faults
        self._clients: set[Client] = set()
        self._duplicates = 0
        self._held: list[Document] = []
        self._hold = 0
        self._is_refusing = False
        self._sent: list[Document] = []

    async def serve(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One stream until its end."""
        if request.path != "/stream" or self._is_refusing:
            return
        client = Client(writer, self._check)
        self._clients.add(client)
        try:
            client.receive(request.head)
            while data := await reader.read(CHUNK):
                if not client.receive(data):
                    return
        finally:
            self._clients.discard(client)

    @property
    def listening(self) -> int:
        """How many streams get events."""
        return sum(client.is_listening for client in self._clients)

    def tell(self, event: Document) -> None:
        """Send an event to everybody who listens, or hold it to be sent out of order."""
        self._sent.append(event)
        if self._hold:
            self._held.append(event)
            if len(self._held) >= self._hold:
                self.release()
            return
        self._send(event)
        if self._duplicates:
            self._duplicates -= 1
            self._faults.count("stream_duplicate")
            self._send(event)

    def misbehave(self, action: str, count: int = 1) -> None:
        """The next ``count`` events come twice or backwards; or the streams fall silent, deaf, end, talk nonsense."""
        if action == "duplicate":
            self._duplicates = count
        elif action == "shuffle":
            self._hold = count
        elif action == "replay":
            for event in self._sent[-count:]:
                self._send(event)
        elif action == "refuse":
            self._is_refusing = count > 0
        for client in list(self._clients):
            if action == "mute":
                client.is_mute = count > 0
            elif action == "deaf":
                client.is_deaf = count > 0
            elif action == "close":
                client.close()
            elif action == "garbage":
                client.send_text("{no json")
        if action not in ("duplicate", "shuffle"):
            self._faults.count(f"stream_{action}")

    def release(self) -> None:
        """Send what was held back, newest first."""
        held, self._held, self._hold = self._held[::-1], [], 0
        if held:
            self._faults.count("stream_shuffle")
        for event in held:
            self._send(event)

    def _send(self, event: Document) -> None:
        for client in self._clients:
            if client.is_listening:
                client.send({"stream": "trade_updates", "data": event})
