"""What a backtest refuses; each message names what, the value seen and the mend."""


class BacktestError(Exception):
    """The backtest cannot run; ``hint`` is the mend and ``code`` one word for programs."""

    def __init__(self, message: str, *, hint: str = "", code: str = "backtest") -> None:
        super().__init__(message)
        self.message, self.hint, self.code = message, hint, code


class DatasetChangedError(BacktestError):
    """The files of a dataset are not those that were written: nothing computed from them counts."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, hint="delete that folder: the next run builds it again", code="changed_dataset"
        )


class DatasetRefusedError(BacktestError):
    """The data cannot become a dataset whose sums are exact."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint, code="refused_data")


class NothingStoredError(DatasetRefusedError):
    """There are no bars at all."""

    def __init__(self) -> None:
        super().__init__("there are no stored bars to test on", hint="import them: finagent data import DIR")


class CheckFailedError(BacktestError):
    """The kernel and the reference differ in a session that was played by both: nothing of the run counts."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, hint="run it with --engine reference and report the difference", code="check_failed"
        )


class LookAheadError(BacktestError):
    """A decision changed with data that came after it: nothing of the run counts."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            hint="a rule looks ahead: report it with the settings of this run; its results are worth nothing",
            code="look_ahead",
        )
