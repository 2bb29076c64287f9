//! Is a binary static? It is if no program header asks for an interpreter.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

const PT_INTERP: u32 = 3;

/// Whether the 64-bit little-endian ELF file at `path` needs no dynamic loader.
pub fn is_static(path: &Path) -> Result<bool> {
    let types = segment_types(&std::fs::read(path)?);
    let types = types.ok_or_else(|| Error::new(ErrorKind::InvalidData, "not a 64-bit little-endian ELF file"))?;
    Ok(!types.contains(&PT_INTERP))
}

fn segment_types(elf: &[u8]) -> Option<Vec<u32>> {
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = u64::from_le_bytes(bytes(elf, 32)?) as usize;
    let (size, count) = (u16::from_le_bytes(bytes(elf, 54)?), u16::from_le_bytes(bytes(elf, 56)?));
    let at = |i| table.checked_add(usize::from(size) * i);
    (0..usize::from(count)).map(|i| Some(u32::from_le_bytes(bytes(elf, at(i)?)?))).collect()
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_points_outside_is_refused() {
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(64, 0xff);
        assert_eq!(segment_types(&elf), None);
    }

    #[test]
    fn text_is_not_elf() {
        assert_eq!(segment_types(b"#!/bin/sh"), None);
    }
}
