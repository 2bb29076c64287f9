//! One straight pipeline: policy → [`Spec`](oci_spec::runtime::Spec) → [`plan::Plan`] → process → [`state::Record`].
//!
//! Every noun is a type that can be printed; every arrow is one function; no arrow goes back.
#![deny(unsafe_code)]

pub mod annotation;
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
pub mod losses;
mod mountinfo;
mod passwd;
pub mod plan;
pub mod policy;
mod proc_status;
pub mod resctrl;
pub mod run;
pub mod state;
#[allow(unsafe_code)]
pub mod sys;
pub mod systemd;
pub mod template;
mod text;

pub use error::{Error, Result};
