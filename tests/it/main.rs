//! The whole system, from the outside: the real binary, the real exchange, the real database.

mod books;
mod cli;
mod conformance;
mod data;
mod end_to_end;
mod exchange;
mod faults;
mod harness;
mod model_server;
mod models;
mod paper;
mod recovery;
mod tidy;
mod upgrade;
mod venue;
