//! One straight pipeline: policy → [`Spec`](oci_spec::runtime::Spec) → [`plan::Plan`] → process → [`state::Record`].
//!
//! Every noun is a type that can be printed; every arrow is one function; no arrow goes back.
//!
//! The first arrows, which change nothing on the machine:
//!
//! ```
//! use libruntime::host::Host;
//! use libruntime::plan::{Options, Plan};
//! use libruntime::policy::compile::{Identity, Proc, Request, compile};
//! use libruntime::policy::parse::{Base, Format, Parsed, parse};
//! use libruntime::policy::view::Disk;
//!
//! let cwd = std::env::current_dir().unwrap();
//! let text = r#"{"type": "read-only"}"#;
//! let Parsed { policy, .. } = parse("my.json", text, Format::Json, &Base { cwd: &cwd, home: None })?;
//! let request = Request {
//!     digest: policy.digest(),
//!     policy: &policy,
//!     cwd,
//!     args: vec!["/bin/true".into()],
//!     env: vec![],
//!     identity: Identity::Keep,
//!     proc: Proc::Fresh,
//!     terminal: false,
//!     routes: vec![],
//!     controllers: vec![],
//!     namespaces: true,
//! };
//! let bundle = compile(&request, &Disk::new()).map_err(|reasons| reasons[0].clone())?.bundle;
//! let host = Host::probe_for(&bundle.spec, &Options::default())?;
//! let plan = Plan::new(&bundle, &host, &Options::default()).map_err(|reasons| reasons[0].clone())?;
//! assert!(plan.to_string().contains("/bin/true"), "{plan}");
//! # Ok::<(), libruntime::Error>(())
//! ```
//!
//! What comes next makes a process: [`run::run`], whose caller must have one thread.
#![deny(unsafe_code)]

pub mod annotation;
mod argument;
pub mod bpf;
pub mod bridge;
pub mod broker;
pub mod bundle;
pub mod cgroup;
pub mod error;
pub mod explain;
pub mod features;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod host;
pub mod landlock;
mod listing;
pub mod losses;
mod mountinfo;
pub mod namespace;
mod passwd;
pub mod plan;
pub mod policy;
mod proc_status;
pub mod put;
pub mod resctrl;
pub mod run;
pub mod state;
#[allow(unsafe_code)]
pub mod sys;
pub mod systemd;
pub mod template;
pub mod text;
mod xdg;

pub use error::{Error, Result};
