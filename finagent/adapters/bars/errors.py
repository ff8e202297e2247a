"""What can go wrong with the bar store, each with the mend."""


class BarStoreError(Exception):
    """The bar store cannot do what was asked; ``hint`` is the mend."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message = message
        self.hint = hint


class ImportFolderError(BarStoreError):
    """The folder is missing, no folder, empty, unreadable, or holds nothing that can be imported."""


class StoreLockedError(BarStoreError):
    """Another process imports into the same home."""


class StoreUnwritableError(BarStoreError):
    """The home cannot be written."""


class StoreCorruptError(BarStoreError):
    """A file of the store cannot be read."""
