//! Data on stdout.

use crate::report::Failure;
use libruntime::Error;
use std::io::{self, ErrorKind, Write};

/// Prints; a reader that has gone away (`| head`) is no failure.
pub fn print(text: &str) -> Result<u8, Failure> {
    line(text)?;
    Ok(0)
}

/// The same for one of many; whether anybody still reads.
pub fn line(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Error::new("cannot write to stdout").cause(e).into()),
    }
}
