//! Stories of the desk.
