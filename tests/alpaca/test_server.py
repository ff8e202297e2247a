"""The simulated broker as others use it: a process of its own, whose book and witness outlive whoever talks to it."""

import os
import signal
import socket

import httpx
import pytest

from finagent.simulation.alpaca import (
    KEY,
    SECRET,
    AlpacaProcess,
    AlpacaServer,
    ControlRefusedError,
    read_witness,
)
from finagent.simulation.alpaca.__main__ import main

HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
BODY = {
    "client_order_id": "one", "symbol": "XYZ", "side": "buy", "type": "market", "qty": "3", "time_in_force": "day",
}  # fmt: skip


def client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers=HEADERS, timeout=20.0, trust_env=False)


def test_a_process_keeps_book_and_witness_over_its_own_death(tmp_path):
    state, witness = tmp_path / "state", tmp_path / "witness"
    with AlpacaProcess(state=state, witness=witness) as broker, client(broker.url) as http:
        broker.control.run("asset", {"symbol": "XYZ", "price": "100"})
        broker.control.run("clock", {"at_ms": 1_519_138_800_000})
        assert http.post("/v2/orders", json=BODY).status_code == 200
        broker.control.run("trade", {"symbol": "XYZ", "price": "101"})
        broker.control.run("cash", {"type": "CSD", "amount": "5"})
        before = broker.control.run("look", {})
        broker.kill()
    with state.open("ab") as file:
        file.write(b'{"kind": "order", "torn')
    with AlpacaProcess(state=state, witness=witness) as broker, client(broker.url) as http:
        after = broker.control.run("look", {})
        for name in ("orders", "fills", "positions", "cash", "equity"):
            assert after[name] == before[name], name
        assert http.post("/v2/orders", json=BODY).json()["message"] == "client_order_id must be unique"
        assert http.get("/v2/account/activities/CSD").json()[0]["net_amount"] == "5"
    assert [line["client_order_id"] for line in read_witness(witness)] == ["one"]
    assert [line["qty"] for line in read_witness(witness)] == ["3"]


def test_a_process_ends_at_sigterm_and_prints_where_it_listens():
    with AlpacaProcess() as broker:
        assert broker.url.startswith("http://127.0.0.1:")
        os.kill(broker.pid, signal.SIGTERM)
        broker.wait()


def test_a_port_that_is_taken_is_told_as_what_it_is():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RuntimeError, match="did not start"):
            AlpacaProcess(port=taken.getsockname()[1]).start()


def test_help_says_how_to_run_it(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--witness" in capsys.readouterr().out


def test_the_control_door_opens_with_its_token_only():
    with AlpacaProcess() as broker, client(broker.url) as http:
        assert http.post("/_control/look").status_code == 401
        assert http.post("/_control/look", headers={"authorization": "Bearer x"}).status_code == 401
        with pytest.raises(ControlRefusedError, match="no command 'explode'"):
            broker.control.run("explode", {})
        for name, order in (
            ("fault", {"on": "GET /", "action": "sing"}),
            ("fault", {"on": "GET /", "act": "hang"}),
            ("trade", {"symbol": "XYZ"}),
            ("fill", {"client_order_id": "nobody", "qty": "1", "price": "1"}),
            ("stream", {"action": "sing"}),
            ("account", {"wealth": "1"}),
        ):
            with pytest.raises(ControlRefusedError):
                broker.control.run(name, order)


async def test_without_a_token_there_is_no_control_door():
    async with AlpacaServer() as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        assert (await http.post("/_control/look", headers={"authorization": "Bearer x"})).status_code == 404


async def test_unknown_routes_and_ids_are_404_as_alpaca_says_it():
    async with (
        AlpacaServer() as server,
        httpx.AsyncClient(base_url=server.url, headers=HEADERS, trust_env=False) as http,
    ):
        for path in ("/v2/nothing", "/v2/orders/nobody", "/v2/assets/NOPE", "/v3"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, 40410000)
        found = await http.get("/v2/orders:by_client_order_id", params={"client_order_id": "nobody"})
        assert found.json() == {"code": 40410000, "message": "order not found for nobody"}
        assert (await http.get("/v2/orders", params={"limit": "501"})).status_code == 422
        assert (await http.get("/v2/orders", params={"after": "soon"})).status_code == 422


async def test_a_filled_order_cannot_be_cancelled():
    async with (
        AlpacaServer() as server,
        httpx.AsyncClient(base_url=server.url, headers=HEADERS, trust_env=False) as http,
    ):
        server.control.run("clock", {"at_ms": 1_519_138_800_000})
        server.control.run("mode", {"immediate": True})
        server.add_asset("XYZ", "100")
        order = (await http.post("/v2/orders", json=BODY)).json()
        answer = await http.delete(f"/v2/orders/{order['id']}")
        assert answer.status_code == 422
        assert answer.json()["message"] == 'order is already in "filled" state'


WASH = [
    ("market", "market", True), ("market", "limit", True), ("market", "stop", True), ("stop", "limit", True),
    ("limit", "market", True), ("limit", "stop", True), ("limit", "limit", False), ("limit", "limit", True),
]  # fmt: skip


@pytest.mark.parametrize(("existing", "new", "is_refused"), WASH)
async def test_orders_that_could_meet_are_refused_by_alpaca_s_own_table(existing, new, is_refused):
    """The table of its user protection page; two limits only when they cross."""
    async with (
        AlpacaServer() as server,
        httpx.AsyncClient(base_url=server.url, headers=HEADERS, trust_env=False) as http,
    ):
        server.control.run("clock", {"at_ms": 1_519_138_800_000})
        server.add_asset("XYZ", "100")
        server.control.run("hold", {"symbol": "XYZ", "qty": "-9", "price": "100"})
        first = {**BODY, "type": existing, "qty": "1", **terms(existing, "buy", cross=is_refused)}
        assert (await http.post("/v2/orders", json=first)).status_code == 200
        server.control.run("hold", {"symbol": "XYZ", "qty": "9", "price": "100"})
        second = {
            **BODY, "client_order_id": "two", "side": "sell", "type": new, "qty": "1",
            **terms(new, "sell", cross=is_refused),
        }  # fmt: skip
        answer = await http.post("/v2/orders", json=second)
        assert (answer.status_code == 403) is is_refused, answer.text
        if is_refused:
            assert answer.json()["message"] == "potential wash trade detected. use complex orders"
            assert answer.json()["existing_order_id"]


def terms(kind: str, side: str, *, cross: bool) -> dict[str, str]:
    """Prices of an order that does not fill: buys above and sells below each other where they are to cross."""
    if kind == "stop":
        return {"stop_price": "105" if side == "buy" else "95"}
    if kind == "limit":
        return {"limit_price": ("99" if cross else "97") if side == "buy" else ("98" if cross else "102")}
    return {}
