//! `linux.resources.cpu`: the controllers cpu and cpuset.

use super::table::{Controller, Table, given};
use crate::host::cgroup::Version;
use oci_spec::runtime::{LinuxCpu, LinuxResources};
use std::ops::RangeInclusive;

const CPU: Controller = Controller("cpu", "cpu");
const CPUSET: Controller = Controller("cpuset", "cpuset");

pub(super) fn limits(t: &mut Table, r: &LinuxResources) {
    let Some(cpu) = r.cpu() else { return };
    if let (Some(burst), Some(quota)) = (cpu.burst(), cpu.quota().filter(|quota| *quota > 0))
        && burst > quota.unsigned_abs()
    {
        t.refuse("cpu.burst", format!("{burst} is above `cpu.quota`, {quota}"));
    }
    for (value, field) in [(cpu.quota(), "cpu.quota"), (cpu.realtime_runtime(), "cpu.realtimeRuntime")] {
        t.limit(field, value);
    }
    times(t, cpu);
    if let Some(idle) = cpu.idle().filter(|idle| !matches!(idle, 0 | 1)) {
        t.refuse("cpu.idle", format!("{idle} is neither 0 nor 1"));
    }
    if given(cpu.shares()).is_some() && cpu.idle() == Some(1) {
        t.refuse("cpu.shares", "is dropped by the kernel where `cpu.idle` is 1, which has the least weight of all");
    }
    if let Some(shares) = cpu.shares().filter(|shares| *shares > MOST_SHARES) {
        t.refuse("cpu.shares", format!("{shares} is above {MOST_SHARES}"));
    }
    if let Some((at, version)) = t.home_of(&CPU, &fields(cpu)) {
        match version {
            Version::V1 => v1(t, cpu, at),
            Version::V2 => v2(t, cpu, at),
        }
    }
    for (list, field, file) in [(cpu.cpus(), "cpu.cpus", "cpuset.cpus"), (cpu.mems(), "cpu.mems", "cpuset.mems")] {
        let Some(list) = list.as_ref().filter(|list| !list.is_empty()) else { continue };
        if has_too_large(list) {
            t.refuse(field, format!("`{}` has a number above {}, the last that the kernel reads", list.escape_debug(), u32::MAX));
        } else if !is_list(list) {
            t.refuse(field, format!("`{}` is not a list like `0-3,7`", list.escape_debug()));
        } else if let Some((at, _)) = t.home(&CPUSET, field) {
            t.put(at, field, file, list);
        }
    }
}

/// Microseconds of a period, and of a quota at the least (`min_cfs_quota_period` and `max_cfs_quota_period` of the kernel's scheduler).
const PERIOD: RangeInclusive<u64> = 1_000..=1_000_000;

fn times(t: &mut Table, cpu: &LinuxCpu) {
    if let Some(period) = given(cpu.period()).filter(|period| !PERIOD.contains(period)) {
        t.refuse("cpu.period", format!("{period} is not from {} to {}", PERIOD.start(), PERIOD.end()));
    }
    if let Some(quota) = cpu.quota().filter(|quota| *quota > 0 && quota.unsigned_abs() < *PERIOD.start()) {
        t.refuse("cpu.quota", format!("{quota} is below {}, the least", PERIOD.start()));
    }
    if let (Some(runtime), Some(period)) = (cpu.realtime_runtime().filter(|n| *n > 0), given(cpu.realtime_period()))
        && runtime.unsigned_abs() > period
    {
        t.refuse("cpu.realtimeRuntime", format!("{runtime} is above `cpu.realtimePeriod`, {period}"));
    }
}

/// A set in the kernel's words (cpuset(7), "List format", and what bitmap_parselist() of the kernel takes besides): `0-3,7`, `0-15:2/4`,
/// `all`, `N` for the last.
fn is_list(text: &str) -> bool {
    let mut regions = text.split([',', ' ', '\t', '\n']).filter(|region| !region.is_empty()).peekable();
    regions.peek().is_some() && regions.all(|region| is_region(region).is_some())
}

fn has_too_large(text: &str) -> bool {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
    numbers.any(|number| number.parse::<u32>().is_err())
}

fn is_region(region: &str) -> Option<()> {
    let number = |text: &str| if text == "N" { Some(u32::MAX) } else { text.parse::<u32>().ok() };
    let (range, pattern) = region.split_once(':').map_or((region, None), |(range, pattern)| (range, Some(pattern)));
    if !range.eq_ignore_ascii_case("all") {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (number(first)? <= number(last)?).then_some(())?;
    }
    let Some((used, group)) = pattern.map(|pattern| pattern.split_once('/').unwrap_or_default()) else { return Some(()) };
    let (used, group) = (number(used)?, number(group)?);
    (group > 0 && used <= group).then_some(())
}

/// The most that the kernel keeps (`MAX_SHARES`).
const MOST_SHARES: u64 = 262_144;

fn fields(cpu: &LinuxCpu) -> Vec<&'static str> {
    let fields = [
        (given(cpu.shares()).is_some(), "cpu.shares"),
        (given(cpu.quota()).is_some(), "cpu.quota"),
        (given(cpu.period()).is_some(), "cpu.period"),
        (cpu.burst().is_some(), "cpu.burst"),
        (cpu.idle().is_some(), "cpu.idle"),
        (given(cpu.realtime_runtime()).is_some(), "cpu.realtimeRuntime"),
        (given(cpu.realtime_period()).is_some(), "cpu.realtimePeriod"),
    ];
    fields.iter().filter(|(present, _)| *present).map(|(_, name)| *name).collect()
}

/// Each of these pairs limits the other; whichever comes first may have to wait for the second.
fn v1(t: &mut Table, cpu: &LinuxCpu, at: usize) {
    if cpu.shares() == Some(1) {
        // The kernel would make 2 of it (`MIN_SHARES`) and say nothing.
        t.refuse("cpu.shares", "1 is below 2, the least on cgroup version 1");
    }
    if let Some(shares) = given(cpu.shares()) {
        // Refused while the group is idle.
        t.put(at, "cpu.shares", "cpu.shares", shares).again = true;
    }
    if let Some(period) = given(cpu.period()) {
        t.put(at, "cpu.period", "cpu.cfs_period_us", period).again = true;
    }
    if let Some(burst) = cpu.burst() {
        let write = t.put(at, "cpu.burst", "cpu.cfs_burst_us", burst);
        (write.again, write.may_miss) = (true, burst == 0);
    }
    if let Some(quota) = given(cpu.quota()) {
        t.put(at, "cpu.quota", "cpu.cfs_quota_us", quota);
    }
    idle(t, cpu, at);
    if let Some(period) = given(cpu.realtime_period()) {
        t.put(at, "cpu.realtimePeriod", "cpu.rt_period_us", period).again = true;
    }
    if let Some(runtime) = given(cpu.realtime_runtime()) {
        t.put(at, "cpu.realtimeRuntime", "cpu.rt_runtime_us", runtime);
    }
}

fn v2(t: &mut Table, cpu: &LinuxCpu, at: usize) {
    if let Some(shares) = given(cpu.shares()) {
        t.put(at, "cpu.shares", "cpu.weight", weight(shares)).again = true;
    }
    if let Some(burst) = cpu.burst() {
        let write = t.put(at, "cpu.burst", "cpu.max.burst", burst);
        (write.again, write.may_miss) = (true, burst == 0);
    }
    let quota = given(cpu.quota()).map(|quota| if quota > 0 { quota.to_string() } else { "max".to_owned() });
    match (quota, given(cpu.period())) {
        (Some(quota), Some(period)) => drop(t.put(at, "cpu.quota", "cpu.max", format!("{quota} {period}"))),
        // The period stays what it is, 100 ms in a new cgroup.
        (Some(quota), None) => drop(t.put(at, "cpu.quota", "cpu.max", quota)),
        (None, Some(period)) => drop(t.put(at, "cpu.period", "cpu.max", format!("max {period}"))),
        (None, None) => {}
    }
    idle(t, cpu, at);
    let realtime = [
        (given(cpu.realtime_runtime()).is_some(), "cpu.realtimeRuntime"),
        (given(cpu.realtime_period()).is_some(), "cpu.realtimePeriod"),
    ];
    for (_, field) in realtime.iter().filter(|(asked, _)| *asked) {
        t.refuse(field, "cgroup version 2 has no limit for realtime processes");
    }
}

fn idle(t: &mut Table, cpu: &LinuxCpu, at: usize) {
    if let Some(idle) = cpu.idle() {
        t.put(at, "cpu.idle", "cpu.idle", idle).may_miss = idle == 0;
    }
}

/// Shares are from 2 to 262144 and 1024 unless told, weights from 1 to 10000 and 100 unless told: the curve through these three
/// points that runc (1.4) and crun (1.23) agreed on. The straight line that came before made 1024 shares a weight of 39.
fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    let l = (shares.min(262_144) as f64).log2();
    10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil().min(10_000.0) as u64
}

#[cfg(test)]
mod tests {
    use super::{is_list, weight};

    #[test]
    fn a_list_is_what_the_kernel_takes_for_one() {
        for list in ["0", "0-3,7", "0, 2", "all", "ALL:1/2", "0-15:2/4", "3-N", "N", ",1,", "0-1023"] {
            assert!(is_list(list), "{list}");
        }
        for wrong in ["banana", "3-1", "1-", "-1", "0-3:2", "0-3:3/2", "0:0/0", "0x1", "4294967296", "1;2", "all-3", " ", ","] {
            assert!(!is_list(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_least_the_usual_and_the_most_shares_are_the_least_the_usual_and_the_most_weight() {
        let table = [(1, 1), (2, 1), (3, 2), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000), (u64::MAX, 10_000)];
        assert_eq!(table.map(|(shares, _)| (shares, weight(shares))), table);
    }
}
