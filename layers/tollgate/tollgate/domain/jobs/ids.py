"""What the ids of jobs, files and batches look like."""

_LONGEST = 64
"""Characters at most, see `IdSource`."""


def may_be_id(text: str) -> bool:
    """Whether there could be something of that id. Tables refuse longer keys, which would look like an outage."""
    return 0 < len(text) <= _LONGEST and text.isascii()
