//! `codexrun checkpoint`: a running container → files.

use crate::criu::Criu;
use crate::grammar::Global;
use crate::report::Failure;
use clap::Args;
use libruntime::run::{self, criu};
use libruntime::{Error, Result};
use std::path::PathBuf;

/// Write a running container into files, by criu
///
/// The container has ended then and is forgotten, as with runc; `--leave-running` and `--pre-dump` let it go on. Standard input,
/// output and error are those of whoever restores it. A container with a terminal, and one whose PID 1 is codexrun, cannot be
/// checkpointed.
#[derive(Debug, Args)]
pub struct Checkpoint {
    #[command(flatten)]
    criu: Criu,
    /// Let the container go on
    #[arg(long)]
    leave_running: bool,
    /// Write only its memory, and let it go on
    #[arg(long)]
    pre_dump: bool,
    /// The files of an earlier `--pre-dump`, seen from those of this one
    #[arg(long, value_name = "DIR")]
    parent_path: Option<PathBuf>,
    /// Send memory to `criu page-server` there
    #[arg(long, value_name = "ADDRESS:PORT")]
    page_server: Option<String>,
    /// Write a byte to this descriptor when memory can be asked for (with `--lazy-pages`)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    status_fd: Option<i32>,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Checkpoint {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        let options = self.options(global)?;
        // Those below the one that criu gets stay open too, as Go's callers count.
        run::close_inherited(options.status_fd.map_or(0, |fd| u32::try_from(fd).unwrap_or(0).saturating_sub(2)))?;
        criu::checkpoint(&global.store()?, &self.id.parse()?, &options)?;
        Ok(0)
    }

    fn options(&self, global: &Global) -> Result<criu::Checkpoint> {
        Ok(criu::Checkpoint {
            criu: self.criu.options(global)?,
            leave_running: self.leave_running,
            pre_dump: self.pre_dump,
            parent: self.parent_path.clone(),
            page_server: self.page_server.as_deref().map(page_server).transpose()?,
            // runc's word for none is -1.
            status_fd: self.status_fd.filter(|fd| *fd >= 0),
        })
    }
}

fn page_server(text: &str) -> Result<(String, u16)> {
    let split = text.rsplit_once(':').and_then(|(address, port)| Some((address.to_owned(), port.parse().ok()?)));
    split.ok_or_else(|| Error::new(format!("`--page-server {text}` is not ADDRESS:PORT")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::{Verb, read};
    use std::ffi::OsString;

    fn options(line: &str) -> Result<criu::Checkpoint> {
        let argv = ["codexrun", "checkpoint"].into_iter().chain(line.split(' ')).map(OsString::from);
        let cli = read(&argv.collect::<Vec<_>>()).1.unwrap();
        let Some(Verb::Checkpoint(checkpoint)) = &cli.verb else { panic!() };
        checkpoint.options(&cli.top.global)
    }

    #[test]
    fn what_engines_pass_is_understood() {
        let flags = "--tcp-established --ext-unix-sk --shell-job --file-locks --manage-cgroups-mode strict --empty-ns network";
        let all =
            options(&format!("--image-path /i --work-path /w {flags} --lazy-pages --status-fd 3 --leave-running x")).unwrap();
        assert!(all.leave_running && all.status_fd == Some(3) && all.criu.cgroups == criu::Cgroups::Strict);
        assert!(all.criu.empty_network && all.criu.tcp_established && all.criu.images == std::path::Path::new("/i"));
        let last = options("-criu /c --pre-dump --parent-path ../p --page-server ::1:77 --status-fd -1 x").unwrap();
        assert!(last.pre_dump && last.parent == Some("../p".into()) && last.criu.program == Some("/c".into()));
        assert_eq!((last.page_server, last.status_fd), (Some(("::1".into(), 77)), None));
        assert_eq!(options("--status-fd -2147483648 x").unwrap().status_fd, None);
        assert!(options("--page-server here x").unwrap_err().to_string().contains("ADDRESS:PORT"));
    }
}
