//! x
#![recursion_limit = "512"]
pub mod domain;
pub mod exchange;
pub mod exit;
pub mod runtime;
pub mod store;
pub mod venue;
