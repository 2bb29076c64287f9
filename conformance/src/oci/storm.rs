//! storm.
