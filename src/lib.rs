//! Alpha Arena: rule strategies and language models trade an OKX account under one allocator and
//! one risk gate.
//!
//! Modules in reading order: the nouns, what every actor needs, the venue, the stages in the order
//! data flows, what persists it, what people and systemd touch.

#![recursion_limit = "512"] // long json! objects in exchange/render.rs

pub mod domain;

pub mod runtime;

pub mod data;
pub mod fills;

pub mod exchange;
pub mod venue;

pub mod paper;
pub mod tape;

pub mod allocation;
pub mod decision;
pub mod execution;
pub mod market;
pub mod risk;
pub mod strategy;
pub mod tracking;

pub mod llm;

pub mod backtest;
pub mod stats;

pub mod replay;
pub mod store;

pub mod cli;
pub mod config;
pub mod daemon;
pub mod exit;
pub mod ops;
pub mod telemetry;
