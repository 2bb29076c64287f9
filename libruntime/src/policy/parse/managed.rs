//! `ManagedNetworkSandboxContext`: what Codex says of the proxy that it runs for a command. That it is there selects proxy-only.

use super::cursor::At;
use super::source::Source;
use super::{Base, Format, json};
use crate::Result;
use crate::policy::choice::{Choices, EVERY_SOCKET};

/// The value of `--managed-network`; `{}` is valid. On Linux a server inside is always permitted, in the network namespace of its own,
/// and the ports of the proxy are those of the environment, so that the first two have no effect. What it grants beside proxies is returned.
pub fn managed(text: &str, base: &Base) -> Result<Choices> {
    let source = Source::new("--managed-network", text, Format::Json, base);
    let document = json::read(&source)?;
    let at = At::document(&source, &document);
    at.only("a managed network", &["loopbackPorts", "allowLocalBinding", "dangerouslyAllowAllUnixSockets"])?;
    for port in at.get("loopbackPorts").map_or(Ok(Vec::new()), |ports| ports.list("a list of ports"))? {
        if !port.number().is_some_and(|number| (1..=65535).contains(&number)) {
            return Err(port.expected("a port from 1 to 65535"));
        }
    }
    at.get("allowLocalBinding").map(|on| on.bool()).transpose()?;
    let mut choices = Choices::default();
    if at.get("dangerouslyAllowAllUnixSockets").map_or(Ok(false), |on| on.bool())? {
        choices.unix_socket(EVERY_SOCKET)?;
    }
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn said(text: &str) -> Result<Choices> {
        managed(text, &Base { cwd: Path::new("/w"), home: None })
    }

    #[test]
    fn every_key_is_read_or_refused() {
        let all = |on: bool| {
            format!(r#"{{"loopbackPorts":[3128,8081],"allowLocalBinding":true,"dangerouslyAllowAllUnixSockets":{on}}}"#)
        };
        for nothing in ["{}", &all(false)] {
            assert_eq!(said(nothing).unwrap(), Choices::default(), "{nothing}");
        }
        assert_eq!(said(&all(true)).unwrap(), Choices { unix_sockets: vec!["/".into()], ..Choices::default() });
        let wrong = [r#"{"loopbackPorts":[0]}"#, r#"{"allowLocalBinding":1}"#, r#"{"dangerouslyAllowAllUnixSockets":1}"#];
        for wrong in wrong.into_iter().chain([r#"{"port":1}"#, "[]", "true", "", "{"]) {
            assert!(said(wrong).is_err(), "{wrong}");
        }
    }
}
