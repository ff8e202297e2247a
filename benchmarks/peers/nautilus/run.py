"""nautilus_trader: all symbols in one engine; each day as two bars, so that the day's own path meets the bracket."""

from decimal import Decimal

import gapwork
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import FillModel, PerContractFeeModel
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy

work, _, repeats = gapwork.asked()
fee = work.rule["fee"]


def instrument(symbol):
    return Equity(
        instrument_id=InstrumentId.from_str(f"S{symbol}.SIM"),
        raw_symbol=Symbol(f"S{symbol}"),
        currency=USD,
        price_precision=4,
        price_increment=Price.from_str("0.0001"),
        lot_size=Quantity.from_int(1),
        ts_event=0,
        ts_init=0,
    )


def bar_type(of):
    return BarType.from_str(f"{of.id}-1-MINUTE-LAST-EXTERNAL")


class Gap(Strategy):
    def on_start(self):
        self.seen, self.trades, self.held = {}, [], {}
        for own in prepared:
            self.seen[own[0].id] = [-1, own]
            self.subscribe_bars(bar_type(own[0]))

    def on_bar(self, bar):
        identity = bar.bar_type.instrument_id
        state = self.seen[identity]
        state[0] += 1
        place, phase = divmod(state[0], 2)
        own = state[1]
        if phase == 0:
            plan = own[2].get(place)
            if plan is not None:
                shares, stop, target = plan
                bracket = self.order_factory.bracket(
                    instrument_id=identity,
                    order_side=OrderSide.BUY,
                    quantity=own[0].make_qty(shares),
                    sl_trigger_price=own[0].make_price(stop),
                    tp_price=own[0].make_price(target),
                    tp_post_only=False,
                )
                self.held[identity] = place
                self.submit_order_list(bracket)
        elif self.held.get(identity) == place and self.portfolio.is_net_long(identity):
            self.cancel_all_orders(identity)
            self.close_all_positions(identity)

    def on_position_closed(self, event):
        _, symbol, _, places = self.seen[event.instrument_id][1]
        place = places[self.held[event.instrument_id]]
        gain = float(event.realized_pnl)
        self.trades.append(
            gapwork.row(place, symbol, float(event.peak_qty), event.avg_px_open, event.avg_px_close, gain)
        )


prepared, data = [], []
for symbol in range(len(work.symbols)):
    plans, places = gapwork.plans(work, symbol)
    if not len(places):
        continue
    own = instrument(symbol)
    days = pd.date_range("2000-01-01", periods=len(work.open), freq="24h", tz="UTC")[places]
    index = days.repeat(2) + pd.to_timedelta([0, 12] * len(places), unit="h")
    columns = list(gapwork.OHLC)
    frame = pd.DataFrame(gapwork.stretched(work, symbol, places, 2), columns=columns, index=index)
    data.append(BarDataWrangler(bar_type(own), own).process(frame.assign(volume=1e6)))
    prepared.append((own, symbol, plans, places.tolist()))


def run():
    engine = BacktestEngine(
        config=BacktestEngineConfig(
            trader_id=TraderId("T-1"),
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    engine.add_venue(
        venue=Venue("SIM"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USD,
        starting_balances=[Money(1e9, USD)],
        fee_model=PerContractFeeModel(Money(fee, USD)),
        fill_model=FillModel(),
        bar_execution=True,
        bar_adaptive_high_low_ordering=False,
        default_leverage=Decimal(1),
    )
    for own, _, _, _ in prepared:
        engine.add_instrument(own)
    for bars in data:
        engine.add_data(bars)
    strategy = Gap()
    engine.add_strategy(strategy)
    seconds, _ = gapwork.timed(engine.run)
    trades = strategy.trades
    engine.dispose()
    return seconds, trades


samples = []
for _ in range(max(repeats, 1)):
    seconds, trades = run()
    samples.append(seconds)
gapwork.tell(work, "nautilus", {"whole": samples}, trades)
