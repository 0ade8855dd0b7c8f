//! Interfaces for people and systemd while the daemon runs: the control socket, sd_notify, the
//! watchdog.

pub mod control;
mod doorway;
pub mod health;
pub mod killfile;
pub mod notify;
pub mod preflight;
