//! Contenders that are models: what they are shown, how they are asked, what of their answers is
//! believed.
//!
//! A model names a direction, how much of its sleeve to risk, and the prices at which it would be
//! wrong or done; never a quantity, leverage or order type. Its reply is kept before anybody reads
//! it, then it is data: everything from [`parse`] on is a pure function of the reply, the prompt's
//! data and the state of the moment.

pub mod answer;
pub mod asking;
pub mod breaker;
pub mod budget;
pub mod calibration;
pub mod chat;
pub mod client;
mod code;
pub mod fallback;
pub mod format;
pub mod inputs;
pub mod parse;
pub mod plan;
pub mod prompt;
pub mod reply;
pub mod runner;
pub mod series;
pub mod state;
pub mod validate;

pub use code::Code;
pub use runner::{ModelContender, ModelRunner};

#[cfg(test)]
mod tests;
