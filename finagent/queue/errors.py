"""What can go wrong with a job, one class per reaction of the caller."""


class QueueError(Exception):
    """Base of all queue errors."""


class UnknownJobTypeError(QueueError):
    """A job type that nobody registered."""

    def __init__(self, job_type: str, known: tuple[str, ...]) -> None:
        super().__init__(f"job type {job_type!r} is not registered; known are: {', '.join(known) or 'none'}")
        self.job_type = job_type


class PayloadError(QueueError):
    """A payload that is no JSON, too large, or of a version this program does not know."""


class JobValueError(QueueError):
    """A field of a job that no row can hold: an instant, a priority, a number of attempts, a key."""


class DelayError(JobValueError):
    """A delay that is negative, infinite or not a number."""


class LeaseLostError(QueueError):
    """The lease of this job belongs to somebody else by now: drop the result."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"job {job_id} is no longer leased by this worker: its effects were rolled back")
        self.job_id = job_id


class GuardFailedError(QueueError):
    """A row that was read and decided upon has changed meanwhile: read again and decide again."""

    def __init__(self, row: str, *, expected: int | None = None, found: int | None = None) -> None:
        super().__init__(f"row {row!r} has version {found}, expected {expected}: decide again on fresh reads")
        self.row = row


class JobNotFoundError(QueueError):
    """No job has this id."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"there is no job {job_id}: list the jobs to see their ids")
        self.job_id = job_id


class QueueClosedError(QueueError):
    """The queue is closed and takes no more requests."""

    def __init__(self, message: str = "the queue is closed: start it before publishing") -> None:
        super().__init__(message)
