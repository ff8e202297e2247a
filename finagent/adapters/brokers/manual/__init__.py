"""The manual desk: orders become tickets, a person types them at their broker and tells what became of them."""

from finagent.adapters.brokers.manual.broker import ManualBroker
from finagent.adapters.brokers.manual.desk import Said, end_ticket, record_fill
from finagent.adapters.brokers.manual.tables import read_plan_tickets, read_tickets

__all__ = ["ManualBroker", "Said", "end_ticket", "read_plan_tickets", "read_tickets", "record_fill"]
