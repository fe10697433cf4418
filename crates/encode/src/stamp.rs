//! Timestamps of [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) in UTC, to the microsecond:
//! `2026-02-15T18:47:10.821315Z`.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::str;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes up to the point.
const SECOND_LEN: usize = 20;
/// Bytes of all.
const LEN: usize = 27;

/// A timestamp, in bytes that are quick to check: whole words, and aligned.
#[derive(Clone, Copy)]
#[repr(align(16))]
struct Text([u8; 32]);

const EMPTY: Text = Text(*b"0000-01-01T00:00:00.000000Z.....");

/// The last second that has four digits for its year: 9999-12-30T22:00:00Z, jiff's bound.
const LAST_SECOND: i64 = 253_402_207_200;
/// The first one: 0000-01-01T00:00:00Z.
const FIRST_SECOND: i64 = -62_167_219_200;

thread_local! {
    /// The second of this thread's last timestamp, and its text.
    static SECOND: Cell<(i64, Text)> = const { Cell::new((i64::MIN, EMPTY)) };
}

/// Writes the time; a fraction of a microsecond is cut off. Years are 0 to 9999: beyond, the
/// nearest time is written.
///
/// # Errors
/// Those of `out`.
#[inline]
pub fn write(out: &mut impl Write, time: SystemTime) -> fmt::Result {
    let (second, micros) = since_epoch(time);
    let mut text = text_of(second);
    let mut rest = micros;
    for digit in text.0[SECOND_LEN..LEN - 1].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    // All of it is ASCII.
    out.write_str(str::from_utf8(&text.0).ok().and_then(|text| text.get(..LEN)).unwrap_or_default())
}

/// Seconds, negative before 1970, and microseconds from there on.
#[inline]
fn since_epoch(time: SystemTime) -> (i64, u32) {
    let (second, micros) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_micros()),
        Err(error) => {
            let before = error.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos().div_ceil(1000) {
                0 => (-whole, 0),
                micros => ((-whole).saturating_sub(1), 1_000_000 - micros),
            }
        }
    };
    match second {
        second if second >= LAST_SECOND => (LAST_SECOND, 0),
        second if second < FIRST_SECOND => (FIRST_SECOND, 0),
        second => (second, micros),
    }
}

/// The text, right up to the point. It costs a comparison while the second is the last one's.
#[inline]
fn text_of(second: i64) -> Text {
    // A destructor of a thread-local may still ask.
    let (last, text) = SECOND.try_with(Cell::get).unwrap_or((i64::MIN, EMPTY));
    if last == second {
        return text;
    }
    new_text(second)
}

#[cold]
fn new_text(second: i64) -> Text {
    let mut text = EMPTY;
    if let Ok(time) = jiff::Timestamp::from_second(second) {
        let civil = jiff::tz::Offset::UTC.to_datetime(time);
        let fields = [
            (0..4, civil.year()),
            (5..7, civil.month().into()),
            (8..10, civil.day().into()),
            (11..13, civil.hour().into()),
            (14..16, civil.minute().into()),
            (17..19, civil.second().into()),
        ];
        for (range, value) in fields {
            let mut rest = value.unsigned_abs();
            for digit in text.0[range].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }
    let _ = SECOND.try_with(|cached| cached.set((second, text)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn written(time: SystemTime) -> String {
        let mut out = String::new();
        write(&mut out, time).unwrap();
        out
    }

    proptest! {
        #[test]
        fn reads_back(second in FIRST_SECOND..LAST_SECOND, nanos in 0u32..1_000_000_000) {
            let time = if second >= 0 {
                UNIX_EPOCH + Duration::new(second as u64, nanos)
            } else {
                UNIX_EPOCH - Duration::from_secs(second.unsigned_abs()) + Duration::new(0, nanos)
            };
            for _ in 0..2 {
                let read: jiff::Timestamp = written(time).parse().unwrap();
                let exact = jiff::Timestamp::new(second, 0).unwrap() + Duration::from_nanos(nanos.into());
                prop_assert_eq!(read.as_microsecond(), exact.as_nanosecond().div_euclid(1000) as i64);
            }
        }
    }

    #[test]
    fn at_its_bounds() {
        assert_eq!(written(UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
        assert_eq!(written(UNIX_EPOCH - Duration::from_nanos(1)), "1969-12-31T23:59:59.999999Z");
        let far = UNIX_EPOCH + Duration::from_secs(1 << 50);
        assert_eq!(written(far), "9999-12-30T22:00:00.000000Z");
        if let Some(before) = UNIX_EPOCH.checked_sub(Duration::from_secs(1 << 50)) {
            assert_eq!(written(before), "0000-01-01T00:00:00.000000Z");
        }
    }
}
