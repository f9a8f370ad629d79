//! What integration tests share: one file for each thing that has to be running.

pub(crate) mod softhsm;
