"""Opening hours, short days, holidays, the time zone."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator

from clinic.callflow import DAYS, days_of
from clinic.mistakes import Finding
from clinic.model import Clinic
from clinic.rules.common import repeated


def time_zone(clinic: Clinic) -> Iterator[Finding]:
    try:
        zoneinfo.ZoneInfo(clinic.timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        yield Finding(("timezone",), clinic.timezone, "no such time zone", "Write it as Europe/Moscow")


def open_at_all(clinic: Clinic) -> Iterator[Finding]:
    for slug, hours in clinic.hours.items():
        if not hours.week:
            yield Finding(
                ("hours", slug, "week"), slug, "these hours never open", "Add days, as {mon-fri: 08:00-20:00}"
            )


def weekdays_once(clinic: Clinic) -> Iterator[Finding]:
    for slug, hours in clinic.hours.items():
        entries = [(("hours", slug, "week", key), day, key) for key in hours.week for day in days_of(key)]
        told: set[str] = set()
        for finding in repeated(entries, "the day is already written under {owner}", "Write each day once"):
            key = str(finding.path[-1])
            if key not in told:
                told.add(key)
                yield finding


def short_days(clinic: Clinic) -> Iterator[Finding]:
    for slug, hours in clinic.hours.items():
        for day, opening in hours.short_days.items():
            path = ("hours", slug, "short_days", day.isoformat())
            weekday = DAYS[day.weekday()]
            usual = next((o for key, o in hours.week.items() if weekday in days_of(key)), None)
            if day in hours.holidays:
                yield Finding(path, str(day), "the day is also a holiday", "Keep one of the two")
            if usual is None:
                yield Finding(
                    path,
                    str(day),
                    f"it is a {weekday}, when these hours are closed anyway",
                    "Correct the date, or add the weekday to `week`",
                )
            elif opening.start < usual.start or opening.end > usual.end or opening == usual:
                yield Finding(
                    path,
                    f"{day}: {opening}",
                    f"a short day is shorter than its usual {usual}",
                    "Correct the hours or remove the day",
                )


def holidays_once(clinic: Clinic) -> Iterator[Finding]:
    for slug, hours in clinic.hours.items():
        yield from repeated(
            ((("hours", slug, "holidays", i), str(day), str(day)) for i, day in enumerate(hours.holidays)),
            "the holiday is listed twice",
            "Remove one",
        )


RULES = (time_zone, open_at_all, weekdays_once, short_days, holidays_once)
