"""One error class per reaction of the caller: try again, give up, or stop everything."""


class RetryError(Exception):
    """The step failed for a passing reason: run it again later.

    `retry_after_s` is the wait the other side asked for, in seconds; None leaves the wait to the policy.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class GiveUpError(Exception):
    """The step can never succeed as it stands: record the reason and do not run it again."""


class HaltError(Exception):
    """Going on would do harm (a failed fsync, a broken invariant): stop everything with this reason."""


class CancelJobError(GiveUpError):
    """Somebody asked for the end of this step while it ran: record the reason, the job ends cancelled."""


class ReturnJobError(RetryError):
    """The step was interrupted and has not failed: give the job back, this attempt is not counted."""
