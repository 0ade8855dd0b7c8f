//! The risk gate: the one door to the executor. It names every rule an intent breaks, holds the
//! trading states, and makes flat when a person or a rule says so.

mod actor;
#[cfg(test)]
mod case;
mod exposure;
mod flatten;
mod latch;
mod protect;
mod recent;
mod restrict;
mod rules;
pub mod seen;
mod unwind;
mod view;

pub use actor::{
    Answer, CancelAsk, Command, Gate, Memory, Placing, ProtectForeign, Protecting, Seal, StopWork,
    Verdict, Work,
};
pub use flatten::{Closing, Flat, Flatten, flatten};
pub use latch::Latch;
pub use protect::{Act, Cover, Sleeve, Terms, can_protect, give_up, plan};
pub use recent::{Recent, Sent};
pub use restrict::{consequence, scope_of};
pub use rules::{Approved, Permit, Refused, assess, check, check_permitted};
pub use unwind::{Left, Report, Seen, Step, Tempo, Unwind};
pub use view::{InFlight, View};
