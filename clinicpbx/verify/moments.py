"""Moments at which a flow is open, closed, on a short day or on holiday: for calls that pretend another time. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from clinic.callflow import Hours

MARGIN = dt.timedelta(minutes=10)
DAY = dt.timedelta(days=1)


class Moments:
    """Of one weekly plan, in the clinic's time zone, from the day `first` on. Each is an epoch second, or None."""

    def __init__(self, hours: Hours, timezone: str, first: dt.date) -> None:
        self.hours, self.zone, self.first = hours, ZoneInfo(timezone), first

    def _days(self) -> Iterator[dt.date]:
        return (self.first + DAY * n for n in range(400))

    def _ordinary(self) -> Iterator[dt.date]:
        special = {*self.hours.short_days, *self.hours.holidays}
        return (d for d in self._days() if d not in special and self.hours.on(d))

    def _at(self, day: dt.date, time: dt.time, shift: dt.timedelta = dt.timedelta()) -> int:
        return int((dt.datetime.combine(day, time, self.zone) + shift).timestamp())

    def open(self) -> int | None:
        """Ten minutes after an ordinary day's opening."""
        for day in self._ordinary():
            opening = self.hours.on(day)
            if opening:
                return self._at(day, opening.start, MARGIN)
        return None

    def closed(self) -> int | None:
        """Ten minutes after an ordinary day's end; None when the plan never closes."""
        for day in self._ordinary():
            opening = self.hours.on(day)
            if opening and opening.end <= dt.time(23, 40):
                return self._at(day, opening.end, MARGIN)
        return None

    def shortened(self) -> tuple[int, int] | None:
        """(closed on a short day, open at the same hour of another day of that week), or None without such a day."""
        for day, opening in sorted(self.hours.short_days.items()):
            for other in (day + DAY * n for n in range(-7, 8) if n):
                usual = self.hours.on(other)
                special = other in self.hours.short_days or other in self.hours.holidays
                after = (dt.datetime.combine(day, opening.end) + MARGIN).time()
                if usual and not special and usual.start <= after < usual.end and day >= self.first:
                    return self._at(day, opening.end, MARGIN), self._at(other, opening.end, MARGIN)
        return None

    def holiday(self) -> int | None:
        """Noon of a holiday to come."""
        day = next((d for d in sorted(self.hours.holidays) if d >= self.first), None)
        return self._at(day, dt.time(12)) if day else None
