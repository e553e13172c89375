"""Spans of time that usage is counted in, all of the UTC calendar."""

from datetime import UTC, datetime, timedelta

SLICE_MINUTES = 5
SLICE = timedelta(minutes=SLICE_MINUTES)
"""The shortest span that is rolled up: what one turn reads of a busy hour."""

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def slice_of(moment: datetime) -> datetime:
    """The beginning of the slice, in UTC."""
    return hour_of(moment) + moment.minute // SLICE_MINUTES * SLICE


def hour_of(moment: datetime) -> datetime:
    """The beginning of the hour, in UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_of(moment: datetime) -> datetime:
    """The beginning of the day, in UTC."""
    return hour_of(moment).replace(hour=0)


def month_of(moment: datetime) -> datetime:
    """The beginning of the month, in UTC."""
    return day_of(moment).replace(day=1)
