//! Dates and times as logs write them, taken apart.

use jiff::civil::Time;

use crate::commands::merge::time::format::Unit;

/// A date and a time of day. `Calendar` checks the ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i16,
    pub(super) month: i8,
    pub(super) day: i8,
    pub(super) hour: i8,
    pub(super) minute: i8,
    /// 0 to 60.
    pub(super) second: i8,
    pub(super) nanos: i32,
    /// Seconds east of UTC; `None` = in the zone of the option.
    pub(super) offset: Option<i32>,
}

impl Civil {
    pub(super) fn at_time(time: Time) -> Civil {
        Civil {
            hour: time.hour(),
            minute: time.minute(),
            second: time.second(),
            nanos: time.subsec_nanosecond(),
            ..Civil::default()
        }
    }
}

/// The line behind the priority and the version of syslog (`<34>1 `) and one `[`, which may stand before a time.
#[inline]
pub(super) fn after_priority(line: &[u8]) -> &[u8] {
    let mut rest = line;
    if let [b'<', inner @ ..] = line {
        let digits = inner.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if let (1..=3, [b'>', behind @ ..]) = (digits, &inner[digits..]) {
            rest = behind.strip_prefix(b"1 ").unwrap_or(behind);
        }
    }
    rest.strip_prefix(b"[").unwrap_or(rest)
}

/// `2026-11-30T12:34:56.789Z`, also with a space for `T`, a comma, `+0100`, or without an offset.
#[inline]
pub(super) fn rfc3339(text: &[u8]) -> Option<Civil> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    let [b'T' | b't' | b' ', rest @ ..] = rest else { return None };
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let year = i16::from(two([date[0], date[1]])?) * 100 + i16::from(two([date[2], date[3]])?);
    let (month, day) = (two([date[5], date[6]])?, two([date[8], date[9]])?);
    let (time, rest) = time_of_day(rest)?;
    let offset = match rest {
        [b'Z' | b'z', ..] => Some(0),
        [b'+' | b'-', ..] => Some(offset(rest)?),
        _ => None,
    };
    Some(Civil { year, month, day, offset, ..time })
}

/// `30/Nov/2026:12:34:56 +0100`, as in access logs.
pub(super) fn clf(text: &[u8]) -> Option<Civil> {
    let (date, rest) = text.split_first_chunk::<12>()?;
    let &[d1, d2, b'/', m1, m2, m3, b'/', y1, y2, y3, y4, b':'] = date else { return None };
    let year = i16::from(two([y1, y2])?) * 100 + i16::from(two([y3, y4])?);
    let (time, rest) = time_of_day(rest)?;
    let offset = match rest {
        [b' ', rest @ ..] => Some(offset(rest)?),
        _ => None,
    };
    Some(Civil { year, month: month(&[m1, m2, m3])?, day: two([d1, d2])?, offset, ..time })
}

/// `Nov 30 12:34:56` or `Nov  3 12:34:56`, as of RFC 3164.
pub(super) fn syslog(text: &[u8]) -> Option<Civil> {
    month_and_time(text).map(|(civil, _)| civil)
}

/// `Mon Nov 30 12:34:56.789 2026`, as in httpd's error log.
pub(super) fn ctime(text: &[u8]) -> Option<Civil> {
    let (day, rest) = text.split_first_chunk::<4>()?;
    if day[3] != b' ' || !day[..3].iter().all(u8::is_ascii_alphabetic) {
        return None;
    }
    let (civil, rest) = month_and_time(rest)?;
    let &[b' ', y1, y2, y3, y4, ..] = rest else { return None };
    let year = i16::from(two([y1, y2])?) * 100 + i16::from(two([y3, y4])?);
    Some(Civil { year, ..civil })
}

/// `1764506096`, `1764506096.789`, `1764506096789` and so on.
pub(super) fn epoch(text: &[u8], unit: Unit) -> Option<i64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=19).contains(&digits) {
        return None;
    }
    let number = std::str::from_utf8(&text[..digits]).ok()?.parse::<i64>().ok()?;
    let (fraction, rest) = fraction(&text[digits..]);
    if rest.first().is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let nanos = match (unit, digits) {
        (Unit::Seconds, _) | (Unit::ByLength, 9..=11) => 1_000_000_000,
        (Unit::Millis, _) | (Unit::ByLength, 12..=14) => 1_000_000,
        (Unit::Micros, _) | (Unit::ByLength, 15..=17) => 1000,
        (Unit::Nanos, _) | (Unit::ByLength, 18..) => 1,
        (Unit::ByLength, _) => return None,
    };
    let part = i64::from(fraction) * nanos / 1_000_000_000;
    Some(number.saturating_mul(nanos).saturating_add(part))
}

/// Month, day and time of day, and what follows.
fn month_and_time(text: &[u8]) -> Option<(Civil, &[u8])> {
    let (&[m1, m2, m3, b' ', d1, d2, b' '], rest) = text.split_first_chunk::<7>()? else {
        // One blank before a day of one digit.
        let (&[m1, m2, m3, b' ', d, b' '], rest) = text.split_first_chunk::<6>()? else {
            return None;
        };
        let (time, rest) = time_of_day(rest)?;
        return Some((Civil { month: month(&[m1, m2, m3])?, day: two([b'0', d])?, ..time }, rest));
    };
    let day = two([if d1 == b' ' { b'0' } else { d1 }, d2])?;
    let (time, rest) = time_of_day(rest)?;
    Some((Civil { month: month(&[m1, m2, m3])?, day, ..time }, rest))
}

/// `12:34:56`, with a fraction if there is one, and what follows.
#[inline]
fn time_of_day(text: &[u8]) -> Option<(Civil, &[u8])> {
    let (&[h1, h2, b':', m1, m2, b':', s1, s2], rest) = text.split_first_chunk::<8>()? else {
        return None;
    };
    let (hour, minute, second) = (two([h1, h2])?, two([m1, m2])?, two([s1, s2])?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, rest) = fraction(rest);
    Some((Civil { hour, minute, second, nanos, ..Civil::default() }, rest))
}

/// `.789` or `,789` in billionths, and what follows. Digits beyond the ninth do not count.
#[inline]
fn fraction(text: &[u8]) -> (i32, &[u8]) {
    let [b'.' | b',', digits @ ..] = text else { return (0, text) };
    let (mut billionths, mut unit, mut at) = (0, 100_000_000, 0);
    while let Some(digit @ b'0'..=b'9') = digits.get(at) {
        billionths += i32::from(digit - b'0') * unit;
        unit /= 10;
        at += 1;
    }
    if at == 0 { (0, text) } else { (billionths, &digits[at..]) }
}

/// `+01:00` or `+0100`, in seconds.
fn offset(text: &[u8]) -> Option<i32> {
    let (sign, [h1, h2, rest @ ..]) = text.split_first()? else { return None };
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    let [m1, m2, ..] = *rest else { return None };
    let seconds = i32::from(two([*h1, *h2])?) * 3600 + i32::from(two([m1, m2])?) * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

fn month(name: &[u8; 3]) -> Option<i8> {
    const NAMES: &[u8; 36] = b"janfebmaraprmayjunjulaugsepoctnovdec";
    let name = name.to_ascii_lowercase();
    let at = NAMES.chunks(3).position(|known| known == name)?;
    Some(at as i8 + 1)
}

/// A number of two digits.
#[inline]
fn two(digits: [u8; 2]) -> Option<i8> {
    let [tens, ones] = digits.map(|digit| digit.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then_some((tens * 10 + ones) as i8)
}
