//! x
#![recursion_limit = "512"]
pub mod domain;
pub mod exchange;
