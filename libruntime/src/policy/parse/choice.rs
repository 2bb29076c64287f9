//! The object `codexrun`: what Codex's forms have no word for.

use super::cursor::{At, Text};
use super::domain;
use super::path::absolute;
use crate::policy::choice::{Choices, FIELDS, GIT, LIMITS, Limits, STDIO_SOCKETS, StdioSockets};
use crate::policy::domain::KEYS;
use crate::policy::isolation::ISOLATION;
use crate::{Error, Result};

pub(super) fn read(at: &At) -> Result<Choices> {
    at.only("`codexrun`", FIELDS)?;
    let flag = |key: &str| at.option(key).map_or(Ok(false), |value| value.bool());
    let mut choices = Choices {
        private_tmp: flag("private_tmp")?,
        deny_secrets: flag("deny_secrets")?,
        nested_git: flag("nested_git")?,
        unix_datagrams: flag("unix_datagrams")?,
        stdio_sockets: at.option("stdio_sockets").map_or(Ok(Default::default()), |sockets| stdio_sockets(&sockets))?,
        git: at.option("git").map_or(Ok(Default::default()), |git| git.word(GIT))?,
        landlock: flag("landlock")?,
        isolation: at.option("isolation").map_or(Ok(Default::default()), |isolation| isolation.word(ISOLATION))?,
        limits: at.option("limits").map_or(Ok(Limits::default()), |limits| self::limits(&limits))?,
        ..Choices::default()
    };
    if let Some(table) = at.option("proxy") {
        table.only("`proxy`", &KEYS)?;
        domain::overlay(choices.proxy.get_or_insert_default(), &table)?;
    }
    ports(at, "dns", |port| choices.dns_port(port))?;
    // An empty list is one too.
    choices.tcp_ports = at.option("tcp_ports").map(|_| Vec::new());
    ports(at, "tcp_ports", |port| choices.tcp_port(port))?;
    names(at, "devices", |name| choices.device(name))?;
    names(at, "caches", |name| choices.cache(name))?;
    for path in at.option("unix_sockets").map_or(Ok(Vec::new()), |list| list.list("a list of paths"))? {
        add_socket(&mut choices, &path.text("an absolute path")?)?;
    }
    names(at, "accept_loss", |name| choices.accept(name))?;
    names(at, "allow_syscalls", |name| choices.allow(name))?;
    Ok(choices)
}

/// A word, or `true` for `any`.
fn stdio_sockets(at: &At) -> Result<StdioSockets> {
    match at.bool() {
        Ok(any) => Ok(if any { StdioSockets::Any } else { StdioSockets::default() }),
        Err(_) => at.word(STDIO_SOCKETS),
    }
}

/// `/…`, `~` or `~/…`.
pub(super) fn add_socket(choices: &mut Choices, path: &Text) -> Result<()> {
    let absolute = absolute(path)?;
    choices.unix_socket(&absolute.to_string_lossy()).map_err(|e| Error { place: path.error("").place, ..e })
}

fn ports(at: &At, key: &str, mut add: impl FnMut(u64) -> Result<()>) -> Result<()> {
    for port in at.option(key).map_or(Ok(Vec::new()), |ports| ports.list("a list of ports"))? {
        let number = port.number().ok_or_else(|| port.expected("a port from 1 to 65535"))?;
        add(number).map_err(|e| port.error(e.what))?;
    }
    Ok(())
}

fn names(at: &At, key: &str, mut add: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let Some(list) = at.option(key) else { return Ok(()) };
    for item in list.list("a list of names")? {
        let name = item.text("a name")?;
        add(name.str).map_err(|e| Error { place: name.error("").place, ..e })?;
    }
    Ok(())
}

/// Each a number, or a text where it has a unit or a fraction.
fn limits(at: &At) -> Result<Limits> {
    at.only("`limits`", LIMITS)?;
    let mut limits = Limits::default();
    for item in at.items()? {
        let text = match item.number() {
            Some(number) => number.to_string(),
            None => item.text("a number")?.str.to_owned(),
        };
        limits.set(item.name().str, &text).map_err(|e| item.error(e.what))?;
    }
    Ok(limits)
}
