//! The whole system, from the outside: the real binary, the real exchange, the real database.

mod books;
mod cli;
mod conformance;
mod end_to_end;
mod faults;
mod harness;
mod recovery;
mod tidy;
mod venue;
