//! Dual control.
