"""What Alpaca shows: every page of it, exact to the last digit, and nothing that cannot be true."""

from decimal import Decimal

import pytest

from finagent.adapters.brokers.alpaca import Patience
from finagent.adapters.brokers.alpaca.facts import AlpacaFacts
from finagent.domain.market import Side
from finagent.domain.orders import OrderState, OrderType
from finagent.ports import BrokerAccessError, RetryError
from finagent.simulation.alpaca import local_ms
from finagent.simulation.alpaca.book import Order
from tests.alpaca.world import NEXT, SESSION, SHARE, T0, World, buy, intent, sell_stop, world

DOLLAR = 100_000_000
IMPATIENT = Patience(write_s=5.0, read_s=0.3, attempts=1)


def put(at: World, number: int, submitted_ms: int) -> None:
    """An old order of the account, without the time it takes to submit a thousand of them."""
    order = Order(
        id=at.server.book.new_id("order"), client_order_id=f"o{number}", symbol="XYZ", side="buy", type="limit",
        time_in_force="day", qty=Decimal(1), limit_price=Decimal(90), status="canceled",
        submitted_ms=submitted_ms, updated_ms=submitted_ms,
    )  # fmt: skip
    at.server.book.orders[order.id] = order


async def test_a_listing_is_complete_beyond_one_page_even_within_one_millisecond():
    async with world() as at:
        for number in range(1_203):
            put(at, number, T0 + number // 400)
        listed = await at.broker.orders(session=SESSION.date)
        assert [order.client_order_id for order in listed] == [f"o{number}" for number in range(1_203)]


async def test_a_listing_without_end_is_refused_rather_than_cut():
    async with world() as at:
        for number in range(1_100):
            put(at, number, T0)
        with pytest.raises(RetryError, match="no end"):
            await at.broker.orders(session=SESSION.date)


async def test_fills_are_complete_beyond_one_page():
    async with world() as at:
        at.tell("account", cash="1e9")
        await at.broker.submit([intent("entry", Side.BUY, OrderType.LIMIT, 450, 101)])
        for number in range(450):
            at.tell("clock", at_ms=T0 + number // 7)
            at.tell("trade", symbol="XYZ", price="100", volume="1")
        fills = await at.broker.fills(session=SESSION.date)
        assert len({fill.execution_id for fill in fills}) == 450
        assert sum(fill.quantity_e4 for fill in fills) == 450 * SHARE


async def test_orders_and_fills_belong_to_their_session_alone():
    async with world() as at:
        await at.broker.submit([buy("entry", 10)])
        await at.trade(100)
        at.tell("clock", at_ms=NEXT.open_ms)
        await at.broker.submit([sell_stop("stop", 10, 98)])
        await at.trade(97)
        assert [o.client_order_id for o in await at.broker.orders(session=SESSION.date)] == ["entry"]
        assert [f.client_order_id for f in await at.broker.fills(session=SESSION.date)] == ["entry"]
        assert [f.client_order_id for f in await at.broker.fills(session=NEXT.date)] == ["stop"]


def external(name: str, **more: object) -> dict[str, object]:
    """An order placed elsewhere."""
    return {
        "client_order_id": name, "symbol": "XYZ", "side": "buy", "type": "limit", "qty": "1",
        "limit_price": "90", "time_in_force": "day", **more,
    }  # fmt: skip


async def test_a_fill_of_somebody_s_older_order_finds_its_name():
    async with world() as at:
        at.tell("order", **external("of-yesterday", time_in_force="gtc"))
        at.tell("clock", at_ms=NEXT.open_ms)
        await at.trade(89)
        assert [f.client_order_id for f in await at.broker.fills(session=NEXT.date)] == ["of-yesterday"]


async def test_day_order_that_did_not_fill_expires_at_the_close():
    async with world() as at:
        await at.broker.submit([intent("entry", Side.BUY, OrderType.LIMIT, 10, 90)])
        at.tell("clock", at_ms=SESSION.close_ms)
        found = await at.broker.find("entry")
        assert found is not None
        assert found.state is OrderState.EXPIRED


async def test_positions_are_signed_exact_and_priced():
    async with world() as at:
        at.tell("hold", symbol="XYZ", qty="-7", price="100")
        at.tell("hold", symbol="ABC", qty="1.23456789", price="50.5")
        found = {p.symbol: p for p in await at.broker.positions()}
        assert (found["XYZ"].quantity_e4, found["XYZ"].mark_e4) == (-7 * SHARE, 1_000_000)
        assert found["ABC"].quantity_e4 == 12_345


async def test_a_crumb_of_a_share_is_still_a_position():
    async with world() as at:
        at.tell("hold", symbol="ABC", qty="0.000000001", price="50")
        assert [p.quantity_e4 for p in await at.broker.positions()] == [1]


async def test_an_empty_list_of_positions_is_what_it_says():
    """That it need not mean flat is the service's to judge."""
    async with world() as at:
        at.tell("hold", symbol="XYZ", qty="5", price="100")
        at.tell("mode", positions_empty=True)
        assert list(await at.broker.positions()) == []


async def test_account_is_read_without_the_fields_of_the_day_trading_rule():
    async with world() as at:
        at.tell("account", cash="1234.56", last_equity="1200.00000001")
        account = await at.broker.account()
        assert (account.currency, account.account_id) == ("USD", "PA3SIMULATED")
        assert (account.cash_e8, account.equity_e8) == (1_234_56 * DOLLAR // 100, 1_234_56 * DOLLAR // 100)
        assert account.last_equity_e8 == 1_200 * DOLLAR + 1
        assert not account.is_blocked


@pytest.mark.parametrize(
    "field", [{"trading_blocked": True}, {"account_blocked": True}, {"status": "ACCOUNT_UPDATED"}], ids=str
)
async def test_blocked_account_says_so(field):
    async with world() as at:
        at.tell("account", **field)
        assert (await at.broker.account()).is_blocked
        assert len(await AlpacaFacts(at.http).blocks()) == 1


CASH = [
    ("CSD", "500", "deposit"),
    ("CSW", "-20.5", "withdrawal"),
    ("DIV", "1.23", "dividend"),
    ("DIVNRA", "-0.37", "dividend"),
    ("INT", "-0.01", "interest"),
    ("FEE", "-0.02", "fee"),
    ("JNLC", "100", "other"),
]


async def test_cash_flows_are_those_since_the_close_before_the_session():
    async with world() as at:
        at.tell("clock", at_ms=local_ms(SESSION.previous, "15:59"))
        at.tell("cash", type="CSD", amount="1")
        at.tell("clock", at_ms=local_ms(SESSION.previous, "18:00"))
        for kind, amount, _ in CASH:
            at.tell("cash", type=kind, amount=amount, symbol="XYZ" if kind == "DIV" else None)
        at.tell("clock", at_ms=local_ms(SESSION.date, "16:01"))
        at.tell("cash", type="CSD", amount="2")
        flows = await at.broker.cash_flows(session=SESSION.date)
        assert sorted(flow.kind for flow in flows) == sorted(kind for _, _, kind in CASH)
        assert sum(flow.amount_e8 for flow in flows) == 580_33 * DOLLAR // 100
        assert len({flow.flow_id for flow in flows}) == len(CASH)
        assert [flow.symbol for flow in flows if flow.symbol] == ["XYZ"]


async def test_clock_calendar_and_stocks_are_read():
    async with world() as at:
        facts = AlpacaFacts(at.http)
        at.tell("day", date=SESSION.date, open="09:30", close="13:00")
        clock = await facts.clock()
        assert (clock.now_ms, clock.is_open) == (T0, True)
        assert clock.next_close_ms == local_ms(SESSION.date, "13:00")
        assert clock.next_open_ms == NEXT.open_ms
        days = await facts.calendar(SESSION.date, NEXT.date)
        assert [(d.date, d.close_ms) for d in days] == [
            (SESSION.date, local_ms(SESSION.date, "13:00")), (NEXT.date, NEXT.close_ms),
        ]  # fmt: skip
        hard = await facts.stock("HARD")
        assert hard is not None
        assert (hard.is_tradable, hard.is_shortable, hard.is_easy_to_borrow) == (True, True, False)
        assert await facts.stock("../account") is None


READS = {
    "find": lambda broker: broker.find("entry"),
    "orders": lambda broker: broker.orders(session=SESSION.date),
    "fills": lambda broker: broker.fills(session=SESSION.date),
    "positions": lambda broker: broker.positions(),
    "account": lambda broker: broker.account(),
    "cash_flows": lambda broker: broker.cash_flows(session=SESSION.date),
    "cancel": lambda broker: broker.cancel("entry"),
}
WRONG = [
    ("hang", {}),
    ("drop_before", {}),
    ("drip", {"seconds": 0.3}),
    ("endless", {}),
    ("garbage", {}),
    ("garbage", {"body": '{"a": Infinity}'}),
    ("garbage", {"body": "17"}),
    ("garbage", {"body": "[1, 2]"}),
    ("garbage", {"body": "[{}]"}),
    ("garbage", {"body": "{}"}),
    ("answer", {"status": 500}),
    ("answer", {"status": 429}),
    ("answer", {"status": 301}),
    ("answer", {"status": 422, "body": "{}"}),
]


@pytest.mark.parametrize(("action", "more"), WRONG, ids=[f"{a} {m}" for a, m in WRONG])
async def test_read_that_goes_wrong_is_to_be_tried_again_and_never_an_empty_answer(action, more):
    async with world(patience=IMPATIENT) as at:
        await at.broker.submit([buy("entry", 1)])
        await at.trade(100)
        for name, read in READS.items():
            at.fault("GET /v2", action, times=0, **more)
            try:
                with pytest.raises(RetryError):
                    await read(at.broker)
            except BaseException as error:
                error.add_note(f"{name}: {action} {more}")
                raise
            at.tell("clear")


@pytest.mark.parametrize(
    ("asked", "waited"),
    [("2", 2.0), ("0", 0.0), ("-5", 0.0), ("999999", 5.0), ("1e3", 0.25), ("soon", 0.25), ("", 0.25),
     ("9" * 400, 0.25), ("Tue, 20 Feb 2018 15:00:03 GMT", 3.0), ("Tue, 20 Feb 2001 15:00:03 GMT", 0.0),
     ("Tue, 20 Feb 9999 15:00:03 GMT", 5.0), ("²", 0.25)],
)  # fmt: skip
async def test_wait_that_a_429_asks_for_is_honoured_and_bounded(asked, waited):
    async with world() as at:
        at.fault("GET /v2/account", "answer", status=429, headers={"retry-after": asked})
        await at.broker.account()
        assert at.ticker.pauses == [waited]


async def test_reads_are_tried_a_bounded_number_of_times_and_counted():
    async with world() as at:
        at.fault("GET /v2/account", "answer", status=503, times=0)
        with pytest.raises(RetryError) as failed:
            await at.broker.account()
        assert at.server.requests.count(("GET", "/v2/account")) == 3
        assert at.ticker.pauses == [0.25, 0.5]
        assert "503" in str(failed.value)
        text = at.metrics.exposition().decode()
        assert 'finagent_api_requests_total{code="503",endpoint="account",vendor="alpaca"} 3.0' in text
        assert 'finagent_api_retries_total{vendor="alpaca"} 2.0' in text
        assert 'finagent_circuit_state{vendor="alpaca"} 0.0' in text
        with pytest.raises(RetryError):
            await at.broker.account()
        assert 'finagent_circuit_state{vendor="alpaca"} 1.0' in at.metrics.exposition().decode()
        at.tell("clear")
        await at.broker.account()
        assert 'finagent_circuit_state{vendor="alpaca"} 0.0' in at.metrics.exposition().decode()


async def test_refused_keys_are_not_tried_again():
    async with world() as at:
        at.tell("keys", key="other", secret="other-secret")
        with pytest.raises(BrokerAccessError):
            await at.broker.positions()
        assert at.server.requests == [("GET", "/v2/positions")]


async def test_body_that_never_ends_is_cut_by_its_size_long_before_the_deadline():
    async with world(patience=Patience(write_s=60.0, read_s=60.0, attempts=1)) as at:
        at.fault("GET /v2/account", "endless")
        with pytest.raises(RetryError, match="larger than 4194304 bytes"):
            await at.broker.account()
