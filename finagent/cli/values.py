"""How values read on a page: money, prices, quantities, percentages, times of the exchange."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from finagent.cli.fields import Fields, number, text
from finagent.cli.page import UNKNOWN, Page

EXCHANGE = ZoneInfo("America/New_York")


def money(value: Decimal | None, *, signed: bool = False) -> str:
    """Two decimals with thousands separated; a sign on request."""
    if value is None:
        return UNKNOWN
    return f"{value:+,.2f}" if signed and value else f"{value:,.2f}"


def price(value: Decimal | None) -> str:
    """Two decimals, up to four where they matter."""
    if value is None:
        return UNKNOWN
    shown = f"{value:,.4f}"
    return shown[:-2] if shown.endswith("00") else shown


def quantity(value: Decimal | None) -> str:
    """Whole shares without decimals, fractions as they are."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value == value.to_integral_value() else f"{value.normalize():,f}"


def percent(value: Decimal | None, *, signed: bool = False) -> str:
    """A value already in percent, one decimal."""
    if value is None:
        return UNKNOWN
    return f"{value:+.1f} %" if signed else f"{value:.1f} %"


def share(value: Decimal | None) -> str:
    """A ratio of 0 to 1 as percent."""
    return UNKNOWN if value is None else f"{value * 100:.0f} %"


def multiple(value: Decimal | None, *, signed: bool = True) -> str:
    """A multiple of the risk taken."""
    if value is None:
        return UNKNOWN
    return f"{value:+.2f} R" if signed else f"{value:.2f} R"


def short(value: Decimal | None) -> str:
    """A large number in K, M or B."""
    if value is None:
        return UNKNOWN
    for limit, name in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if abs(value) >= limit:
            return f"{value / limit:.1f}{name}"
    return f"{value:.0f}"


def moment(instant: str, form: str = "%H:%M") -> str:
    """An ISO 8601 UTC instant in exchange time; what is no instant is shown as it is."""
    if not instant:
        return UNKNOWN
    try:
        parsed = datetime.fromisoformat(instant.replace("Z", "+00:00"))
    except ValueError:
        return instant
    return parsed.astimezone(EXCHANGE).strftime(form) if parsed.tzinfo else instant


def left(seconds: Decimal | None) -> str:
    """Time left as minutes and seconds."""
    if seconds is None:
        return ""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}" if whole > 0 else "over"


def seconds(value: Decimal | None) -> str:
    """A span in its natural unit."""
    if value is None:
        return UNKNOWN
    if value < 60:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 3600 else f"{value / 3600:.1f} h"


def profit(page: Page, document: Fields, *keys: str) -> str:
    """Money with its sign and colour."""
    value = number(document, *keys)
    return page.gain(money(value, signed=True), value)


def clock(document: Fields, *keys: str) -> str:
    """The time of day in the exchange's zone."""
    return moment(text(document, *keys))
