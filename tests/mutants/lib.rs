//! The pure files that decide about money, and nothing else: so that a mutant of them is built and
//! tested in seconds. `run.sh` copies them here from `src/`, unchanged, in the layout they have
//! there.
#![allow(dead_code, unused_imports)]

pub mod domain;

pub mod runtime {
    pub mod sabotage;
}

pub mod decision {
    mod snapshot;
    pub use snapshot::{InstSnapshot, Snapshot};
    #[cfg(test)]
    pub(crate) use snapshot::test_snapshot;
}

pub mod allocation {
    pub mod sizing;
    pub mod working;
}

pub mod risk {
    #[cfg(test)]
    mod case;
    mod exposure;
    mod flatten;
    mod protect;
    mod recent;
    mod restrict;
    mod rules;
    mod switch;
    mod unwind;
    mod view;
}
