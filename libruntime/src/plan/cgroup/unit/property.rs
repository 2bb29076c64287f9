//! Limits as properties of the unit: systemd writes the files that it knows again whenever it is reloaded (runc's docs/systemd.md), and
//! so has to know what they hold. Values are read as the kernel reads them.

use super::put;
use crate::Error;
use crate::plan::cgroup::Write;
use crate::systemd::value::{Property, Value};
use std::borrow::Cow;

/// How a file's value is that of a property.
type Convert = fn(&str) -> Option<Value>;

/// Files of version 2 and the properties from which systemd writes them.
const TABLE: &[(&str, &str, Convert)] = &[
    ("memory.max", "MemoryMax", bytes),
    ("memory.high", "MemoryHigh", bytes),
    ("memory.low", "MemoryLow", bytes),
    ("memory.min", "MemoryMin", bytes),
    ("memory.swap.max", "MemorySwapMax", bytes),
    ("cpu.weight", "CPUWeight", number),
    ("cpu.max", "CPUQuotaPerSecUSec", quota),
    ("cpu.max", PERIOD, period),
    ("cpuset.cpus", "AllowedCPUs", set),
    ("cpuset.mems", "AllowedMemoryNodes", set),
    ("io.weight", "IOWeight", weight),
    ("pids.max", "TasksMax", number),
];
const PERIOD: &str = "CPUQuotaPeriodUSec";

/// Files that systemd writes too, and has no property for: not in systemd 244, or not in a scope. With what it writes.
const ITS_OWN: &[(&str, &str)] =
    &[("memory.oom.group", "0"), ("cpu.idle", "0"), ("cpu.weight.nice", "0"), ("io.bfq.weight", "100")];

/// What these writes are as properties.
pub fn limits(writes: &[Write]) -> Vec<Property> {
    let mut all = Vec::new();
    for (file, value) in writes.iter().flat_map(|write| &write.choices) {
        let value = whole(file, value, &all);
        for (_, name, convert) in TABLE.iter().filter(|(known, _, _)| known == file) {
            if let Some(value) = convert(&value) {
                put(&mut all, ((*name).to_owned(), value));
            }
        }
    }
    all
}

/// Values that are none of the property which their file has: systemd would put back its own.
pub fn unknown(writes: &[Write]) -> Vec<Error> {
    let unknown = |write: &Write| {
        write.choices.iter().find_map(|(file, value)| {
            let (_, name, convert) = TABLE.iter().find(|(known, _, _)| known == file)?;
            let what = || format!("`{}` is nothing that systemd has a word for as `{name}=`", value.escape_debug());
            (!is_of_a_device(file, value) && convert(value).is_none()).then(|| Error::new(what()).at(&write.origin))
        })
    };
    writes.iter().filter_map(unknown).collect()
}

/// What a reload of systemd will undo, as warnings.
pub fn fleeting(writes: &[Write]) -> Vec<String> {
    let fleeting = |write: &Write| {
        let [(file, value)] = write.choices.as_slice() else { return None };
        let (_, own) = ITS_OWN.iter().find(|(known, own)| known == file && *own != value.trim())?;
        let what = format!("systemd has no property for `{file}`, and writes {own} again when it is reloaded");
        (!is_of_a_device(file, value)).then(|| format!("config.json: {}: {what}", write.origin))
    };
    writes.iter().filter_map(fleeting).collect()
}

/// systemd leaves the lines of devices alone that it was told nothing of.
fn is_of_a_device(file: &str, value: &str) -> bool {
    file.starts_with("io.") && value.contains(':')
}

/// A quota alone leaves the period as it is.
fn whole<'a>(file: &str, value: &'a str, before: &[Property]) -> Cow<'a, str> {
    let alone = file == "cpu.max" && value.split_whitespace().count() == 1;
    let period = before.iter().find(|(name, _)| alone && name == PERIOD);
    period.map_or(value.into(), |(_, period)| format!("{value} {period}").into())
}

fn number(text: &str) -> Option<Value> {
    amount(text, integer)
}

/// memparse(9): with a suffix of 1024, 1024², …
fn bytes(text: &str) -> Option<Value> {
    let scaled = |text: &str| {
        let last = text.chars().last()?.to_ascii_uppercase();
        let power = "KMGTPE".find(last)? + 1;
        integer(&text[..text.len() - 1])?.checked_mul(1 << (10 * power))
    };
    amount(text, |text| integer(text).or_else(|| scaled(text)))
}

fn amount(text: &str, read: impl Fn(&str) -> Option<u64>) -> Option<Value> {
    let text = text.trim();
    if text == "max" { Some(Value::U64(u64::MAX)) } else { read(text).map(Value::U64) }
}

/// kstrtoull(9) with base 0.
fn integer(text: &str) -> Option<u64> {
    let hex = || text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match (hex(), text.strip_prefix('0').filter(|rest| !rest.is_empty())) {
        (Some(digits), _) => u64::from_str_radix(digits, 16).ok(),
        (None, Some(digits)) => u64::from_str_radix(digits, 8).ok(),
        (None, None) => text.parse().ok(),
    }
}

/// Of each second. systemd counts in hundredths and rounds down: rounded up here, so that the file's exact value fits below.
fn quota(text: &str) -> Option<Value> {
    let (quota, period) = quota_and_period(text)?;
    if quota == "max" {
        return Some(Value::U64(u64::MAX));
    }
    let period = period.map_or(Ok(100_000), str::parse).ok()?;
    let per_second = quota.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_div(period)?;
    Some(Value::U64(per_second.checked_next_multiple_of(10_000)?))
}

fn period(text: &str) -> Option<Value> {
    quota_and_period(text)?.1?.parse().ok().map(Value::U64)
}

fn quota_and_period(text: &str) -> Option<(&str, Option<&str>)> {
    let mut words = text.split_whitespace();
    let both = (words.next()?, words.next());
    words.next().is_none().then_some(both)
}

/// Of the whole cgroup, not of one device.
fn weight(text: &str) -> Option<Value> {
    let text = text.trim();
    text.strip_prefix("default ").unwrap_or(text).trim().parse().ok().map(Value::U64)
}

/// `0-2,5`: bit n is number n.
fn set(text: &str) -> Option<Value> {
    let mut bytes = vec![0u8; 128];
    for part in text.split([',', ' ', '\t']).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        for n in from.parse::<usize>().ok()?..=to.parse::<usize>().ok()? {
            *bytes.get_mut(n / 8)? |= 1 << (n % 8);
        }
    }
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0)? + 1);
    Some(Value::Array("y".into(), bytes.into_iter().map(Value::Byte).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &str, value: &str) -> Write {
        let choices = vec![(file.into(), value.into())];
        Write { group: 0, choices, origin: "o".into(), may_miss: false, again: false, above: None }
    }

    fn properties(writes: &[(&str, &str)]) -> Vec<String> {
        let writes: Vec<_> = writes.iter().map(|(file, value)| write(file, value)).collect();
        limits(&writes).iter().map(|(name, value)| format!("{name} {value}")).collect()
    }

    #[test]
    fn a_limit_is_a_property_too_where_systemd_has_one() {
        let table: &[(&str, &str, &[&str])] = &[
            ("memory.max", "4096", &["MemoryMax 4096"]),
            ("memory.max", " 64M", &["MemoryMax 67108864"]),
            ("memory.high", "0x1E", &["MemoryHigh 30"]),
            ("memory.low", "1g", &["MemoryLow 1073741824"]),
            ("memory.swap.max", "max", &["MemorySwapMax infinity"]),
            ("pids.max", "7", &["TasksMax 7"]),
            ("pids.max", " 010", &["TasksMax 8"]),
            ("cpu.max", "25000 50000", &["CPUQuotaPerSecUSec 500000", "CPUQuotaPeriodUSec 50000"]),
            ("cpu.max", "30000  20000", &["CPUQuotaPerSecUSec 1500000", "CPUQuotaPeriodUSec 20000"]),
            ("cpu.max", "max 50000", &["CPUQuotaPerSecUSec infinity", "CPUQuotaPeriodUSec 50000"]),
            ("cpu.max", "12345", &["CPUQuotaPerSecUSec 130000"]),
            ("cpu.max", "max", &["CPUQuotaPerSecUSec infinity"]),
            ("cpuset.cpus", "0-2,9", &["AllowedCPUs 07 02"]),
            ("cpuset.cpus", "0-2, 9", &["AllowedCPUs 07 02"]),
            ("io.weight", "default 500", &["IOWeight 500"]),
            ("io.weight", "500", &["IOWeight 500"]),
            ("io.weight", "8:0 500", &[]),
            ("cpu.idle", "1", &[]),
        ];
        for (file, value, wanted) in table {
            assert_eq!(properties(&[(file, value)]), *wanted, "{file} {value}");
            assert_eq!(unknown(&[write(file, value)]), [], "{file} {value}");
        }
        assert_eq!(properties(&[("pids.max", "7"), ("pids.max", "9")]), ["TasksMax 9"]);
        let period_stays = [("cpu.max", "10000 50000"), ("cpu.max", "20000")];
        assert_eq!(properties(&period_stays), ["CPUQuotaPerSecUSec 400000", "CPUQuotaPeriodUSec 50000"]);
    }

    #[test]
    fn what_systemd_would_not_know_is_refused_by_name() {
        for (file, value, name) in [
            ("memory.max", "64MB", "MemoryMax"),
            ("memory.max", "99999999999E", "MemoryMax"),
            ("memory.low", "089", "MemoryLow"),
            ("pids.max", "-1", "TasksMax"),
            ("cpu.max", "1 2 3", "CPUQuotaPerSecUSec"),
            ("cpu.max", "1000 0", "CPUQuotaPerSecUSec"),
            ("cpu.max", "18446744073709551615", "CPUQuotaPerSecUSec"),
            ("cpu.weight", "ü", "CPUWeight"),
            ("memory.high", "ü", "MemoryHigh"),
            ("cpuset.cpus", "0-8:1/2", "AllowedCPUs"),
            ("cpuset.mems", "4294967295", "AllowedMemoryNodes"),
            ("io.weight", "default max", "IOWeight"),
        ] {
            let said: Vec<_> = unknown(&[write(file, value)]).iter().map(ToString::to_string).collect();
            assert_eq!(said, [format!("o: `{value}` is nothing that systemd has a word for as `{name}=`")], "{file}");
        }
    }

    #[test]
    fn what_a_reload_undoes_is_told() {
        let told = |file: &str, value: &str| fleeting(&[write(file, value)]).len();
        assert_eq!([told("memory.oom.group", "1"), told("cpu.idle", "1"), told("io.bfq.weight", "200")], [1; 3]);
        assert_eq!([told("memory.oom.group", "0"), told("io.bfq.weight", "8:0 200"), told("memory.max", "1")], [0; 3]);
        let or = Write { choices: vec![("io.bfq.weight".into(), "7".into()), ("io.weight".into(), "9".into())], ..write("", "") };
        assert_eq!(fleeting(&[or]), Vec::<String>::new());
    }
}
