//! Sizes and durations as runc's users write them: `512m`, `1.5GiB`, `1m30s`.

use std::time::Duration;

/// Bytes: a number and a unit to base 1024 (`b`, `k`, `kb`, `kib`, up to `p`), in either case, or `-1` for no limit.
pub fn size(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let wrong = || format!("`{text}` is no size such as 1048576, 512m or 1.5g, or -1 for no limit");
    let (number, unit) = split(text);
    let unit = unit.trim_start().to_ascii_lowercase();
    let letter = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit == "ib" => return Err(wrong()),
        letter => letter,
    };
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == letter).ok_or_else(wrong)?;
    let factor = 1_i64 << (10 * power);
    // A whole number stays exact, however great it is.
    match number.parse::<i64>() {
        Ok(whole) => whole.checked_mul(factor).ok_or_else(wrong),
        Err(_) => number.parse::<f64>().map(|part| (part * factor as f64) as i64).map_err(|_| wrong()),
    }
}

/// Go's time.ParseDuration, without a sign: numbers with units, one after the other.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration such as 5s, 1m30s or 500ms");
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let (number, tail) = split(rest);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let seconds = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| *seconds).ok_or_else(wrong)?;
        let part = number.parse::<f64>().map_err(|_| wrong())? * seconds;
        sum += Duration::try_from_secs_f64(part).map_err(|_| wrong())?;
        rest = next;
    }
    if sum.is_zero() { Err(wrong()) } else { Ok(sum) }
}

const UNITS: &[(&str, f64)] = &[("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9)];

/// The number in front, and what follows.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        let table = [
            ("0", 0),
            ("4096", 4096),
            ("512m", 512 << 20),
            ("512MB", 512 << 20),
            ("2 GiB", 2 << 30),
            ("1.5k", 1536),
            ("7b", 7),
            ("9223372036854771712", 9_223_372_036_854_771_712),
            ("-1", -1),
        ];
        for (text, bytes) in table {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "m", "-2", "5x", "5mm", "1.2.3k", "9999999p", "1 000", "ib", "5ib"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_duration_is_a_row_of_numbers_and_units() {
        for (text, milliseconds) in [("5s", 5000), ("1m30s", 90_000), ("500ms", 500), ("1.5h", 5_400_000), ("2000us", 2)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "5", "s", "5 s", "-1s", "0s", "1d", "1s2", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
