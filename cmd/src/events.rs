//! `codexrun events`: what a container uses, and when it lacks memory.

use crate::grammar::Global;
use crate::output;
use crate::quantity::duration;
use crate::report::Failure;
use clap::Args;
use libruntime::state::Event;
use serde_json::json;
use std::time::Duration;

/// Print what a container uses, and when the kernel ends a process of it for want of memory
///
/// One JSON object a line, as runc prints them, until the container ends.
#[derive(Debug, Args)]
pub struct Events {
    /// Print what it has used until now, and end
    #[arg(long)]
    stats: bool,
    /// How often to print what it has used
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    interval: Duration,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Events {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        let record = global.store()?.load(&self.id.parse()?)?;
        if self.stats {
            return output::print(&self.line(Event::Stats(record.stats()?)));
        }
        record.follow(self.interval, |event| output::line(&self.line(event)))?;
        Ok(0)
    }

    /// The fields in runc's order, as people look for them with grep(1).
    fn line(&self, event: Event) -> String {
        let id = json!(self.id);
        match event {
            Event::Stats(data) => format!("{{\"type\":\"stats\",\"id\":{id},\"data\":{data}}}\n"),
            Event::OutOfMemory => format!("{{\"type\":\"oom\",\"id\":{id}}}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_runc_prints_it() {
        let events = Events { stats: true, interval: Duration::ZERO, id: "box".into() };
        assert_eq!(events.line(Event::OutOfMemory), "{\"type\":\"oom\",\"id\":\"box\"}\n");
        let line = events.line(Event::Stats(Default::default()));
        assert!(line.starts_with("{\"type\":\"stats\",\"id\":\"box\",\"data\":"), "{line}");
    }
}
