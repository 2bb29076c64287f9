//! `codexrun delete`: forgets a container, or every one whose id matches.

use crate::grammar::Global;
use crate::report::Failure;
use clap::Args;
use libruntime::state::{ContainerId, Store, absent};
use libruntime::{Error, Result, run};
use regex_lite::Regex;

/// Remove what is kept of a stopped container
#[derive(Debug, Args)]
pub struct Delete {
    /// Kill it first if it runs; be content if there is none
    #[arg(short, long)]
    force: bool,
    /// ID is a regular expression: remove every container of whose id some part matches
    #[arg(short, long)]
    regex: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Delete {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        let store = global.store()?;
        let ids = if self.regex { self.matching(&store)? } else { vec![self.id.parse()?] };
        // One that stays does not keep the others.
        let failed = ids.iter().filter_map(|id| run::delete(&store, id, self.force).err());
        // Nor is it one that somebody else has removed meanwhile.
        let failed: Vec<Error> = failed.filter(|e| !self.regex || *e != absent()).collect();
        if failed.is_empty() { Ok(0) } else { Err(failed.into()) }
    }

    fn matching(&self, store: &Store) -> Result<Vec<ContainerId>> {
        let wrong = |e| Error::new(format!("`{}` is no regular expression", self.id)).cause(e);
        let regex = Regex::new(&self.id).map_err(wrong)?;
        Ok(store.ids()?.into_iter().filter(|id| regex.is_match(id.as_str())).collect())
    }
}
