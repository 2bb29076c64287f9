//! Codex's config.toml: `sandbox_mode` with `[sandbox_workspace_write]`, or `default_permissions`. The file is shared
//! with settings that are no business of a sandbox, so unknown keys are refused only inside the tables read here.

use super::cursor::At;
use super::legacy::knobs;
use super::permissions;
use super::preset::{Workspace, full_access, read_only};
use crate::Result;
use crate::policy::{Network, Policy};

#[derive(Clone, Copy)]
enum Mode {
    ReadOnly,
    WorkspaceWrite,
    DangerFullAccess,
}

const MODES: &[(&str, Mode)] =
    &[("read-only", Mode::ReadOnly), ("workspace-write", Mode::WorkspaceWrite), ("danger-full-access", Mode::DangerFullAccess)];

pub(super) fn read(at: &At) -> Result<Policy> {
    let workspace = at.get("sandbox_workspace_write").map_or(Ok(Workspace::default()), |table| workspace(&table))?;
    let mode = at.get("sandbox_mode");
    // The table is Codex's, and of all its features this one alone is about confinement.
    if let Some(on) = at.get("features").and_then(|features| features.get("use_legacy_landlock"))
        && matches!(on.bool(), Ok(true))
    {
        on.warn("has no effect: `--isolation landlock` confines without namespaces");
    }
    if let Some(name) = at.get("default_permissions") {
        if let Some(mode) = mode {
            mode.warn("`default_permissions` takes the place of `sandbox_mode`, which has no effect");
        }
        return permissions::read(at, &name.text("the name of a permission profile")?, workspace);
    }
    match mode {
        Some(mode) => Ok(policy(mode.word(MODES)?, workspace)),
        None => Err(at.error("expected `sandbox_mode` or `default_permissions`, found neither")),
    }
}

fn policy(mode: Mode, workspace: Workspace) -> Policy {
    match mode {
        Mode::ReadOnly => read_only(Network::Restricted),
        Mode::WorkspaceWrite => workspace.policy(),
        Mode::DangerFullAccess => full_access(),
    }
}

fn workspace(at: &At) -> Result<Workspace> {
    let known = ["writable_roots", "network_access", "exclude_tmpdir_env_var", "exclude_slash_tmp"];
    at.only("`[sandbox_workspace_write]`", &known)?;
    knobs(at)
}
