//! Memory over many containers: a runtime that is a new process each time must not need more for the last than for the first.

use std::fs;
use std::io::Result;
use std::path::Path;

use crate::contender::Contender;
use crate::measure::peak;
use crate::round::Standing;
use crate::stats::median;

/// What the containers took, made one after the other.
pub struct Memory {
    /// How many.
    pub containers: usize,
    /// The median peak of the first tenth of them, KiB.
    pub first: f64,
    /// The same of the last tenth.
    pub last: f64,
    /// What is left in the state directory after all of them.
    pub left: Vec<String>,
}

/// The most by which the last tenth may exceed the first.
const GROWTH: f64 = 1.02;

impl Memory {
    /// Runs the lifecycle `contender` for `containers` rounds; its containers are recorded in `state`.
    pub fn measure(contender: &Contender, containers: usize, state: &Path, floor: &Path, scratch: &Path) -> Result<Memory> {
        let _standing = Standing::begin(contender)?;
        let peaks = (0..containers).map(|_| peak(contender, floor, scratch).map(|kib| kib as f64));
        let (first, last) = ends(&peaks.collect::<Result<Vec<f64>>>()?);
        Ok(Memory { containers, first, last, left: names(state)? })
    }

    /// Whether the peak stayed where it was and nothing was left.
    pub fn is_flat(&self) -> bool {
        self.last <= self.first * GROWTH && self.left.is_empty()
    }

    /// In words.
    pub fn said(&self) -> String {
        let left = if self.left.is_empty() { "nothing".into() } else { self.left.join(" ") };
        format!("median peak {} KiB in the first tenth, {} KiB in the last; left: {left}", self.first, self.last)
    }
}

/// The medians of the first and of the last tenth; at least one sample each.
fn ends(peaks: &[f64]) -> (f64, f64) {
    let tenth = (peaks.len() / 10).max(1).min(peaks.len());
    (median(&peaks[..tenth]), median(&peaks[peaks.len() - tenth..]))
}

fn names(dir: &Path) -> Result<Vec<String>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_shows_in_the_last_tenth() {
        let growing: Vec<f64> = (0..100).map(|i| 3000.0 + f64::from(i)).collect();
        let (first, last) = ends(&growing);
        assert_eq!((first, last), (3004.0, 3094.0));
        let memory =
            |last, left: &[&str]| Memory { containers: 100, first, last, left: left.iter().map(|s| (*s).into()).collect() };
        assert!(!memory(last, &[]).is_flat());
        assert!(memory(first * 1.02, &[]).is_flat());
        assert!(!memory(first, &["a"]).is_flat());
    }

    #[test]
    fn one_container_is_the_first_and_the_last() {
        assert_eq!(ends(&[7.0]), (7.0, 7.0));
        assert_eq!(ends(&[]), (0.0, 0.0));
    }
}
