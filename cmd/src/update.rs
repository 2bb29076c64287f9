//! `codexrun update`: other limits for a running container.

use crate::grammar::Global;
use crate::quantity::size;
use crate::report::Failure;
use clap::Args;
use libruntime::bundle::part;
use libruntime::{Error, Result, text};
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value};
use std::fs::File;
use std::path::PathBuf;

/// Change the limits of a container
///
/// From a file, or from the options below. What is absent, or 0, stays as it is; so do the rules for devices.
#[derive(Debug, Args)]
pub struct Update {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
    /// A JSON object like `linux.resources` of config.json; `-` reads it from stdin
    #[arg(short, long, value_name = "FILE", conflicts_with = "limits")]
    resources: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
}

/// runc's options for single limits.
#[derive(Debug, Default, Args)]
#[group(id = "limits", multiple = true)]
struct Limits {
    /// Weight among cgroups for block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// The period of the CPU limit, in microseconds
    #[arg(long, value_name = "US")]
    cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds; -1: no limit
    #[arg(long, value_name = "US")]
    cpu_quota: Option<i64>,
    /// CPU time that may be saved up for a burst, in microseconds
    #[arg(long, value_name = "US")]
    cpu_burst: Option<u64>,
    /// Weight among cgroups for CPU time
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<u64>,
    /// The period of the real-time limit, in microseconds
    #[arg(long, value_name = "US")]
    cpu_rt_period: Option<u64>,
    /// Real-time CPU time in each period, in microseconds
    #[arg(long, value_name = "US")]
    cpu_rt_runtime: Option<i64>,
    /// 1: only when nobody else wants the CPU; 0: as usual
    #[arg(long, value_name = "0|1", value_parser = clap::value_parser!(i64).range(0..=1))]
    cpu_idle: Option<i64>,
    /// The CPUs to use, e.g. 0-2,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// The memory nodes to use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory, e.g. 512m; -1: no limit
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<i64>,
    /// Memory to shrink to when it is scarce
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory_reservation: Option<i64>,
    /// Memory and swap together; -1: no limit
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory_swap: Option<i64>,
    /// Processes and threads; -1: no limit
    #[arg(long, value_name = "N")]
    pids_limit: Option<i64>,
    /// Its share of the caches (Intel RDT), e.g. L3:0=7f0
    #[arg(long, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Its share of the memory bandwidth (Intel RDT), e.g. MB:0=20
    #[arg(long, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,
    /// Of the kernel's memory alone: refused
    #[arg(long, value_name = "SIZE", value_parser = size, hide = true)]
    kernel_memory: Option<i64>,
    /// Of the memory of TCP's buffers (cgroup version 1)
    #[arg(long, value_name = "SIZE", value_parser = size, hide = true)]
    kernel_memory_tcp: Option<i64>,
}

impl Update {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        let record = global.store()?.load(&self.id.parse()?)?;
        let resources = self.resources()?;
        let (l3_cache, bandwidth) = self.limits.share();
        let share = l3_cache.is_some() || bandwidth.is_some();
        if share {
            record.update_share(l3_cache, bandwidth)?;
        }
        // The share is not the cgroup's: without other limits there need be none.
        if !share || resources != LinuxResources::default() {
            record.update(&resources).map_err(|errors| errors.into_iter().map(|e| self.named(e)).collect::<Vec<_>>())?;
        }
        Ok(0)
    }

    /// What was asked for stands in no config.json.
    fn named(&self, error: Error) -> Error {
        let place = error.place.as_deref().map(|place| place.trim_start_matches("config.json: "));
        let field = place.and_then(|place| place.strip_prefix("linux.resources.")).map(str::to_owned);
        match (field, &self.resources) {
            (Some(field), Some(file)) => error.at(format!("{}: {field}", file.display())),
            (Some(field), None) => error.at(format!("linux.resources.{field}")),
            (None, _) => error,
        }
    }

    fn resources(&self) -> Result<LinuxResources, Vec<Error>> {
        let Some(file) = &self.resources else {
            return self.limits.resources().map_err(|e| vec![e]);
        };
        let text = match file.as_os_str() == "-" {
            true => text::bounded(std::io::stdin()),
            false => File::open(file).and_then(text::bounded),
        };
        let text = text.map_err(|e| vec![Error::new("cannot be read").at(file.display().to_string()).cause(e)])?;
        part::resources(file, &text, &mut |e| e.warn())
    }
}

impl Limits {
    /// Through JSON, so that an option means what the field means.
    fn resources(&self) -> Result<LinuxResources> {
        let mut all = Map::new();
        for (object, field, value) in self.fields() {
            let object = all.entry(object).or_insert_with(|| Value::Object(Map::new()));
            object[field] = value;
        }
        serde_json::from_value(Value::Object(all)).map_err(|e| Error::new("these are no resources").cause(e))
    }

    /// What was given: (object, field, value).
    fn fields(&self) -> Vec<(&'static str, &'static str, Value)> {
        let table = [
            ("blockIO", "weight", self.blkio_weight.map(Value::from)),
            ("cpu", "period", self.cpu_period.map(Value::from)),
            ("cpu", "quota", self.cpu_quota.map(Value::from)),
            ("cpu", "burst", self.cpu_burst.map(Value::from)),
            ("cpu", "shares", self.cpu_share.map(Value::from)),
            ("cpu", "realtimePeriod", self.cpu_rt_period.map(Value::from)),
            ("cpu", "realtimeRuntime", self.cpu_rt_runtime.map(Value::from)),
            ("cpu", "idle", self.cpu_idle.map(Value::from)),
            ("cpu", "cpus", self.cpuset_cpus.as_deref().map(Value::from)),
            ("cpu", "mems", self.cpuset_mems.as_deref().map(Value::from)),
            ("memory", "limit", self.memory.map(Value::from)),
            ("memory", "reservation", self.memory_reservation.map(Value::from)),
            ("memory", "swap", self.memory_swap.map(Value::from)),
            ("memory", "kernel", self.kernel_memory.map(Value::from)),
            ("memory", "kernelTCP", self.kernel_memory_tcp.map(Value::from)),
            ("pids", "limit", self.pids_limit.map(Value::from)),
        ];
        table.into_iter().filter_map(|(object, field, value)| Some((object, field, value?))).collect()
    }

    /// Of the caches, and of the memory bandwidth.
    fn share(&self) -> (Option<&str>, Option<&str>) {
        let [l3_cache, bandwidth] =
            [&self.l3_cache_schema, &self.mem_bw_schema].map(|given| given.as_deref().filter(|text| !text.is_empty()));
        (l3_cache, bandwidth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        update: Update,
    }

    fn resources(words: &[&str]) -> Result<LinuxResources, Vec<Error>> {
        Line::try_parse_from([&["update", "id"], words].concat()).unwrap().update.resources()
    }

    #[test]
    fn an_option_fills_the_field_of_the_same_meaning() {
        let given = "--blkio-weight=10 --cpu-period=1 --cpu-quota=-1 --cpu-burst=2 --cpu-share=3 --cpu-rt-period=4 --cpu-rt-runtime=5 \
            --cpu-idle=1 --cpuset-cpus=0-1 --cpuset-mems=0 --memory=1k --memory-reservation=2k --memory-swap=-1 --kernel-memory=5 --kernel-memory-tcp=3k --pids-limit=9";
        let words: Vec<_> = given.split_whitespace().collect();
        let wanted = serde_json::json!({
            "blockIO": { "weight": 10 },
            "cpu": { "period": 1, "quota": -1, "burst": 2, "shares": 3, "realtimePeriod": 4, "realtimeRuntime": 5, "idle": 1,
                "cpus": "0-1", "mems": "0" },
            "memory": { "limit": 1024, "reservation": 2048, "swap": -1, "kernel": 5, "kernelTCP": 3072 },
            "pids": { "limit": 9 },
        });
        assert_eq!(serde_json::to_value(resources(&words).unwrap()).unwrap(), wanted);
        assert_eq!(resources(&[]).unwrap(), LinuxResources::default());
    }

    #[test]
    fn a_share_is_none_of_the_cgroups_limits() {
        let line = Line::try_parse_from(["update", "id", "--mem-bw-schema", "MB:0=20", "--l3-cache-schema="]).unwrap();
        assert_eq!(line.update.limits.share(), (None, Some("MB:0=20")));
        assert_eq!(line.update.resources().unwrap(), LinuxResources::default());
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for wrong in [&["--memory", "1x"][..], &["--cpu-idle", "2"], &["--resources", "f", "--memory", "1k"]] {
            assert!(Line::try_parse_from([&["update", "id"], wrong].concat()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_docker_sends_is_understood() {
        let docker = r#"{"memory":{"limit":1048576,"reservation":0,"swap":0,"kernel":0},"cpu":{"shares":0,"cpus":"","mems":""},
            "blockIO":{"weight":0},"devices":[{"allow":false,"access":"rwm"}]}"#;
        let resources: LinuxResources = serde_json::from_str(docker).unwrap();
        assert_eq!(resources.memory().unwrap().limit(), Some(1 << 20));
    }
}
