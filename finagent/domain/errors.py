"""Domain faults: bad input that a caller can mend; a refused trade is a value, not an error."""


class DomainError(Exception):
    """A rule of the domain was broken by its input."""


class SettingsValueError(DomainError):
    """A parameter is outside what the rule allows."""


class SessionDataMissingError(DomainError):
    """No data for the session."""


class NotASessionError(DomainError):
    """The exchange does not trade on that date."""


class InvalidTransitionError(DomainError):
    """The state machine has no such step."""


class ChainBrokenError(DomainError):
    """The journal's hash chain does not verify."""


class PlainDataError(DomainError):
    """A value has no plain form, or plain data do not fit the type they are read as."""
