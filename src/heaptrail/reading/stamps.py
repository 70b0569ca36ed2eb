"""Time stamps and other prefixes that terminals and loggers put in front of a console line.

Forms met: `[12:34:56.789]` and `[2024-05-06 12:34:56.789]` (picocom, minicom, Tera Term), `ts` (`May  6 12:34:56`), ISO
8601, logcat (`05-06 12:34:56.789  1234  5678 I tag:`), `[   12.345]` (seconds since boot), ESP-IDF (`I (1234) tag:`,
milliseconds since boot), and the short tags behind a stamp (`[ 9] [  INFO] [ap]`, NuttX syslog); the Arduino IDE's
`12:34:56.789 -> `, arduino-esp32's `[  1234][I][main.cpp:40] loop(): `, ESPHome's `[D][debug:103]: `, RT-Thread's
`[I/app] `, and Zephyr's `[00:00:09.120,000] <inf> app: ` (time since boot).
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_DAY_S = 86_400.0
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)

_HOST = re.compile(
    r"\s*[\[(]?"
    rf"(?:(?P<year>\d{{4}})[-/](?P<month>\d\d)[-/](?P<day>\d\d)[T ]"
    rf"|(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?(?P<name>{'|'.join(_MONTHS)})\s+(?P<day2>\d{{1,2}})\s"
    r"|(?P<month3>\d\d)-(?P<day3>\d\d)\s)?"
    r"(?P<hour>[01]\d|2[0-4]):(?P<minute>[0-5]\d):(?P<second>[0-5]\d|60)(?P<fraction>[.,]\d{1,9})?"
    r"(?:Z|[+-]\d\d:?\d\d| \d{4}(?=\]))?[\])]?:?(?:\s|$|(?=\[[VDIWEC]\]\[))"
)
_DEVICE_BRACKET = re.compile(r"\s*\[\s*(\d{1,9}\.\d{1,9})\](?:\s|$)")
_DEVICE_ESP = re.compile(r"\s*(?:--- )?[EWIDV] \((\d{1,12})\) [\w.:/-]{1,32}:(?:\s|$)")
_ESP_CLOCK = re.compile(r"\s*[EWIDV] \((\d\d):(\d\d):(\d\d)\.(\d{3})\) [\w.:/-]{1,32}:(?:\s|$)")
_ESP_BEGINS = frozenset("EWIDV-")
_LOGCAT = re.compile(r"\s*\d{1,6}\s+\d{1,6}\s+[VDIWEF]\s+[^:]{0,40}?\s*:(?:\s|$)")
_TAG = re.compile(r"\s*\[\s*(?!trace_)\w[\w -]{0,11}\](?:\s|$)")
"""`[trace_malloc]` and `[trace_free]` are no tags: Ameba's stream says with them what was done."""
_ARROW = re.compile(r"-> ?")
_ZEPHYR = re.compile(r"\s*\[(\d{2,5}):([0-5]\d):([0-5]\d)\.(\d{3}),(\d{3})\] <(?:inf|dbg|wrn|err)> [\w.]{1,48}: ?")
_ARDUINO = re.compile(r"\s*(?:\[\s*(?P<ms>\d{1,10})\])?\[[VDIWE]\]\[[\w.-]{1,48}:\d{1,6}\] \w{1,48}\(\): ?")
_LOGGER = re.compile(r"\s*(?:\[[VDIWEC]\]\[[\w.-]{1,48}:\d{1,6}\]:|\[[DIWE]/[\w.-]{1,16}\]) ?")


class Stamp(NamedTuple):
    """A time in front of a line: `clock` says whose (a date, a time of day, or a device's own since its boot)."""

    clock: Literal["date", "day", "device", "device_ms"]
    seconds: float


class Prefixed(NamedTuple):
    """A line without its prefixes: `host` is the recorder's stamp, `device` the firmware's own.

    `system` is the dialect of the only system that has such a prefix, None where several have.
    """

    text: str
    host: Stamp | None = None
    device: Stamp | None = None
    system: str | None = None


class Prefixes:
    """Takes prefixes from lines, one after the other: lines of one moment carry one stamp, which is read once."""

    def __init__(self) -> None:
        self._last = "\0"
        self._stamp: Stamp | None = None

    def strip(self, text: str) -> Prefixed:
        """As `strip_prefixes`; equal stamps that follow one another are one object."""
        if text.startswith(self._last):
            return _behind_host(text[len(self._last) :], self._stamp)
        match = _HOST.match(text)
        if match is None or match["month3"] is not None:
            return strip_prefixes(text)
        self._last, self._stamp = match[0], _host_stamp(match)
        return _behind_host(text[match.end() :], self._stamp)


def strip_prefixes(text: str) -> Prefixed:
    """Take time stamps, and the tags that follow one, from the front of a line. Indents behind them are kept."""
    host: Stamp | None = None
    if (match := _HOST.match(text)) is not None:
        host = _host_stamp(match)
        text = text[match.end() :]
        if match["month3"] is not None and (logcat := _LOGCAT.match(text)) is not None:
            text = text[logcat.end() :]
    return _behind_host(text, host)


def host_width(text: str) -> int:
    """How long the recorder's stamp is that a line begins with, with the blank behind it; 0 where it has none.

    0 also for stamps of other widths on other lines, as logcat's are.
    """
    match = _HOST.match(text)
    return 0 if match is None or match["month3"] is not None else match.end()


def _behind_host(text: str, host: Stamp | None) -> Prefixed:
    device: Stamp | None = None
    system: str | None = None
    if host is not None and text[:2] == "->":
        text = _ARROW.sub("", text, count=1)
    begins = text.lstrip()[:1]
    if begins == "[" and (logger := _logger(text)) is not None:
        return Prefixed(logger[0], host, *logger[1:])
    if begins == "[" and (match := _DEVICE_BRACKET.match(text)) is not None:
        device = Stamp("device", float(match[1]))
        text = text[match.end() :]
        begins = text.lstrip()[:1]
    if begins in _ESP_BEGINS:
        if (match := _DEVICE_ESP.match(text)) is not None:
            device, system = Stamp("device_ms", int(match[1]) / 1000), "espidf"
            text = text[match.end() :]
        elif (match := _ESP_CLOCK.match(text)) is not None:
            system = "espidf"
            text = text[match.end() :]
    if host is not None or device is not None:
        while "[" in text and (match := _TAG.match(text)) is not None:
            text = text[match.end() :]
    return Prefixed(text, host, device, system)


def _logger(text: str) -> tuple[str, Stamp | None, str | None] | None:
    """Behind the prefix of a logger that begins with brackets: the text, its time and its system; None without one."""
    if (match := _ZEPHYR.match(text)) is not None:
        hours, minutes, seconds, milli, micro = map(int, match.groups())
        at_s = hours * 3600 + minutes * 60 + seconds + milli / 1e3 + micro / 1e6
        return text[match.end() :], Stamp("device", at_s), "zephyr"
    if (match := _ARDUINO.match(text)) is not None:
        stamp = None if match["ms"] is None else Stamp("device_ms", int(match["ms"]) / 1000)
        return text[match.end() :], stamp, "espidf"
    match = _LOGGER.match(text)
    return None if match is None else (text[match.end() :], None, None)


def _host_stamp(match: re.Match[str]) -> Stamp:
    hour, minute, second, fraction = match.group("hour", "minute", "second", "fraction")
    within = float(int(hour) * 3600 + int(minute) * 60 + int(second))
    if fraction is not None:
        within += float("0." + fraction[1:])
    if match["day"] is None and match["day2"] is None and match["day3"] is None:
        return Stamp("day", within)
    month = int(match["month"] or match["month3"] or 0)
    if match["name"]:
        month = _MONTHS.index(match["name"]) + 1
    day = int(match["day"] or match["day2"] or match["day3"] or 0)
    if not 1 <= month <= 12 or not day:
        return Stamp("day", within)
    return Stamp("date", _days(int(match["year"] or 2000), month, day) * _DAY_S + within)


def _days(year: int, month: int, day: int) -> int:
    """Days since the year 0 (proleptic Gregorian); only differences are used."""
    leaps = (year - (month <= 2)) // 4 - (year - (month <= 2)) // 100 + (year - (month <= 2)) // 400
    return year * 365 + leaps + _DAYS_BEFORE_MONTH[month - 1] + day


class Moment(NamedTuple):
    """What a line's stamps say: seconds since the log's start, whether the device began anew, what is odd."""

    t_s: float | None
    reset: str | None = None
    jump: str | None = None


class Timeline:
    """Turns stamps into seconds since the first stamp of the log.

    The recorder's stamps count before the device's own. A time of day that falls by more than half a day has passed
    midnight; a recorder's clock that is set back is said, and time goes on from where it was. A device's clock that
    falls to less than half means a reset, whose own length is unknown and counted as nothing.
    """

    def __init__(self) -> None:
        self._zero: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._t_s = 0.0
        self._same: Stamp | None = None
        self._moment = Moment(None)

    def at(self, line: Prefixed) -> Moment:
        """The moment of a line; `t_s` is None where it carries no stamp."""
        if line.device is None and line.host is not None and line.host is self._same:
            return self._moment
        reset = self._device_fell(line.device) if line.device is not None else None
        stamp = line.host or line.device
        if stamp is None:
            return Moment(None, reset)
        jump = None
        seconds = stamp.seconds
        last = self._last.get(stamp.clock)
        if last is None:
            self._zero.setdefault(stamp.clock, seconds - self._t_s)
        elif reset is None and seconds < last - 1.0:
            if stamp.clock == "day" and seconds < last - _DAY_S / 2:
                self._zero[stamp.clock] -= _DAY_S
            else:
                jump = f"the time stamps go back by {last - seconds:.1f} s; time is counted on from there"
                self._zero[stamp.clock] = seconds - self._t_s
        elif reset is not None and line.host is None:
            self._zero[stamp.clock] = -self._t_s
        self._last[stamp.clock] = seconds
        if line.host is not None and line.device is not None:
            self._last[line.device.clock] = line.device.seconds
        self._t_s = max(self._t_s, seconds - self._zero[stamp.clock])
        t_s = round(seconds - self._zero[stamp.clock], 6)
        self._same, self._moment = stamp, Moment(t_s)
        return Moment(t_s, reset, jump)

    def forget_device(self) -> None:
        """The device was reset: its clock may begin anew without meaning another reset."""
        for clock in ("device", "device_ms"):
            if self._last.pop(clock, None) is not None:
                self._zero[clock] = -self._t_s

    def _device_fell(self, stamp: Stamp) -> str | None:
        last = self._last.get(stamp.clock)
        if last is None or last - stamp.seconds <= 10.0 or stamp.seconds >= last / 2:
            return None  # cores of one chip print clocks some seconds apart
        if any(abs(last - wrap) < 60 for wrap in (2**32 / 1e6, 2**32 / 1e3)):
            return None
        return f"the device's clock fell from {last:.3f} s to {stamp.seconds:.3f} s"
