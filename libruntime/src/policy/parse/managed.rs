//! `ManagedNetworkSandboxContext`: what Codex says of the proxy that it runs for a command. That it is there selects proxy-only.

use super::cursor::At;
use super::source::Source;
use super::{Base, Format, json};
use crate::Result;

/// The value of `--managed-network`; `{}` is valid. On Linux a server inside is always permitted, in the network namespace of its own,
/// and the ports of the proxy are those of the environment, so that the first two have no effect.
pub fn managed(text: &str, base: &Base) -> Result<()> {
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
    match at.get("dangerouslyAllowAllUnixSockets") {
        Some(on) if on.bool()? => Err(on.error("Unix sockets of the host cannot be allowed yet")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn said(text: &str) -> Option<String> {
        managed(text, &Base { cwd: Path::new("/w"), home: None }).err().map(|e| e.what)
    }

    #[test]
    fn every_key_is_read_or_refused() {
        assert_eq!(said("{}"), None);
        let all = r#"{"loopbackPorts":[3128,8081],"allowLocalBinding":true,"dangerouslyAllowAllUnixSockets":false}"#;
        assert_eq!(said(all), None);
        for wrong in [r#"{"loopbackPorts":[0]}"#, r#"{"allowLocalBinding":1}"#, r#"{"port":1}"#, "[]", "true", "", "{"] {
            assert!(said(wrong).is_some(), "{wrong}");
        }
        assert_eq!(said(r#"{"dangerouslyAllowAllUnixSockets":true}"#).unwrap(), "Unix sockets of the host cannot be allowed yet");
    }
}
