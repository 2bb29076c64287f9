//! What the container has used, in the shape of `runc events --stats`.

use super::{Cgroup, file};
use crate::host::cgroup::Version;
use crate::plan::cgroup::Group;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

impl Cgroup {
    /// The object `data` of a `stats` event. What the host does not count is 0 or absent.
    pub fn stats(&self) -> Value {
        json!({
            "cpu": self.cpu(), "cpuset": self.cpuset(), "memory": self.memory(), "pids": self.process_count(), "blkio": self.blkio(),
            "hugetlb": self.hugetlb(), "intel_rdt": {}, "network_interfaces": null,
        })
    }

    fn place(&self, v1: &str, v2: &str) -> Option<(PathBuf, Version)> {
        let has = |group: &&Group| {
            let name = if group.version == Version::V1 { v1 } else { v2 };
            group.controllers.iter().any(|controller| controller == name)
        };
        // Time is counted in every cgroup of version 2, also without the cpu controller; version 1 says it better.
        let time = |group: &&Group| v2 == "cpu" && group.version == Version::V2;
        let found = self.groups.iter().find(has).or_else(|| self.groups.iter().find(time));
        found.map(|group| (group.dir(), group.version))
    }

    fn cpu(&self) -> Value {
        let usage = match self.place("cpuacct", "cpu") {
            Some((dir, Version::V1)) => cpuacct(&dir),
            Some((dir, Version::V2)) => {
                let stat = file::read(&dir, "cpu.stat").unwrap_or_default();
                let nanos = |key: &str| file::keyed(&stat, key).unwrap_or(0) * 1000;
                json!({"total": nanos("usage_usec"), "kernel": nanos("system_usec"), "user": nanos("user_usec")})
            }
            None => json!({"total": 0, "kernel": 0, "user": 0}),
        };
        let Some((dir, version)) = self.place("cpu", "cpu") else { return json!({"usage": usage, "throttling": {}}) };
        let stat = file::read(&dir, "cpu.stat").unwrap_or_default();
        let count = |key: &str| file::keyed(&stat, key).unwrap_or(0);
        let time = if version == Version::V1 { count("throttled_time") } else { count("throttled_usec") * 1000 };
        let throttling =
            json!({"periods": count("nr_periods"), "throttledPeriods": count("nr_throttled"), "throttledTime": time});
        json!({"usage": usage, "throttling": throttling})
    }

    fn cpuset(&self) -> Value {
        let Some((dir, _)) = self.place("cpuset", "cpuset") else { return json!({}) };
        let list = |name: &str| file::read(&dir, name).map(|text| numbers(&text)).unwrap_or_default();
        json!({"cpus": list("cpuset.cpus"), "mems": list("cpuset.mems")})
    }

    fn memory(&self) -> Value {
        let Some((dir, version)) = self.place("memory", "memory") else { return json!({}) };
        let text = file::read(&dir, "memory.stat").unwrap_or_default();
        let raw: Map<String, Value> = text
            .lines()
            .filter_map(|line| {
                let (key, value) = line.split_once(' ')?;
                Some((key.to_owned(), value.parse::<u64>().ok()?.into()))
            })
            .collect();
        let entry = |names: [&str; 4]| {
            let [usage, max, failures, limit] = names.map(|name| file::number(&dir, name));
            json!({"usage": usage.unwrap_or(0), "max": max.unwrap_or(0), "failcnt": failures.unwrap_or(0), "limit": limit.unwrap_or(u64::MAX)})
        };
        match version {
            Version::V1 => {
                let v1 = |part: &str| {
                    let file = |what: &str| format!("memory.{part}{what}");
                    let names = ["usage_in_bytes", "max_usage_in_bytes", "failcnt", "limit_in_bytes"].map(file);
                    entry([&names[0], &names[1], &names[2], &names[3]])
                };
                json!({"cache": file::keyed(&text, "cache").unwrap_or(0), "usage": v1(""), "swap": v1("memsw."), "kernel": v1("kmem."),
                       "kernelTCP": v1("kmem.tcp."), "raw": raw})
            }
            Version::V2 => {
                let usage = entry(["memory.current", "memory.peak", "", "memory.max"]);
                let swap = entry(["memory.swap.current", "memory.swap.peak", "", "memory.swap.max"]);
                json!({"cache": file::keyed(&text, "file").unwrap_or(0), "usage": usage, "swap": swap, "raw": raw})
            }
        }
    }

    fn process_count(&self) -> Value {
        let Some((dir, _)) = self.place("pids", "pids") else { return json!({}) };
        json!({"current": file::number(&dir, "pids.current").unwrap_or(0), "limit": file::number(&dir, "pids.max").unwrap_or(0)})
    }

    fn blkio(&self) -> Value {
        match self.place("blkio", "io") {
            Some((dir, Version::V1)) => {
                let first = |names: [&str; 2]| names.iter().find_map(|name| file::read(&dir, name).ok()).unwrap_or_default();
                let bytes = first(["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"]);
                let operations = first(["blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced"]);
                json!({"ioServiceBytesRecursive": v1_devices(&bytes), "ioServicedRecursive": v1_devices(&operations)})
            }
            Some((dir, Version::V2)) => {
                let text = file::read(&dir, "io.stat").unwrap_or_default();
                let of = |keys: &[(&str, &str)]| v2_devices(&text, keys);
                json!({"ioServiceBytesRecursive": of(&[("rbytes", "Read"), ("wbytes", "Write")]),
                       "ioServicedRecursive": of(&[("rios", "Read"), ("wios", "Write")])})
            }
            None => json!({}),
        }
    }

    fn hugetlb(&self) -> Value {
        let Some((dir, version)) = self.place("hugetlb", "hugetlb") else { return json!({}) };
        let (current, suffix) =
            if version == Version::V1 { ("usage_in_bytes", ".usage_in_bytes") } else { ("current", ".current") };
        let names = std::fs::read_dir(&dir).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
        let size = |name: String| name.strip_prefix("hugetlb.")?.strip_suffix(suffix).map(str::to_owned);
        let sizes = names.filter_map(size).filter(|size| !size.contains('.'));
        let one = |size: String| {
            let number = |what: &str| file::number(&dir, &format!("hugetlb.{size}.{what}")).unwrap_or(0);
            let failures = match version {
                Version::V1 => number("failcnt"),
                Version::V2 => file::read(&dir, &format!("hugetlb.{size}.events"))
                    .ok()
                    .and_then(|text| file::keyed(&text, "max"))
                    .unwrap_or(0),
            };
            let value = json!({"usage": number(current), "max": number("max_usage_in_bytes"), "failcnt": failures});
            (size, value)
        };
        Value::Object(sizes.map(one).collect())
    }
}

/// USER_HZ, in which cpuacct.stat counts.
const TICK: u64 = 10_000_000;

fn cpuacct(dir: &std::path::Path) -> Value {
    let stat = file::read(dir, "cpuacct.stat").unwrap_or_default();
    let ticks = |key: &str| file::keyed(&stat, key).unwrap_or(0) * TICK;
    let each = |name: &str| -> Vec<u64> {
        let text = file::read(dir, name).unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
    };
    json!({"total": file::number(dir, "cpuacct.usage").unwrap_or(0), "percpu": each("cpuacct.usage_percpu"),
           "kernel": ticks("system"), "user": ticks("user")})
}

/// `0-2,5` is 0, 1, 2, 5.
pub(crate) fn numbers(list: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.trim().parse::<u16>().ok()?..=to.trim().parse::<u16>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// `8:0 Read 4096`, a device, an operation and a number a line; the line `Total` of all devices has two words.
pub(crate) fn v1_devices(text: &str) -> Vec<Value> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let ((major, minor), op, value) = (words.next()?.split_once(':')?, words.next()?, words.next()?);
        device(major, minor, op, value)
    };
    text.lines().filter_map(line).collect()
}

/// `8:0 rbytes=4096 wbytes=0 …`
pub(crate) fn v2_devices(text: &str, keys: &[(&str, &str)]) -> Vec<Value> {
    let mut out = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some((major, minor)) = words.next().and_then(|id| id.split_once(':')) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let op = keys.iter().find(|(known, _)| *known == key).map(|(_, op)| *op);
            out.extend(op.and_then(|op| device(major, minor, op, value)));
        }
    }
    out
}

fn device(major: &str, minor: &str, op: &str, value: &str) -> Option<Value> {
    let number = |text: &str| text.parse::<u64>().ok();
    Some(json!({"major": number(major)?, "minor": number(minor)?, "op": op, "value": number(value)?}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(numbers("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(numbers(""), Vec::<u16>::new());
        let want = json!([{"major": 8, "minor": 0, "op": "Read", "value": 4096}]);
        assert_eq!(Value::Array(v1_devices("8:0 Read 4096\nTotal 4096\n")), want);
        assert_eq!(Value::Array(v2_devices("8:0 rbytes=4096 wbytes=1 rios=2\n7:0 \n", &[("rbytes", "Read")])), want);
    }
}
