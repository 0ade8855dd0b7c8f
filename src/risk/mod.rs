//! The risk gate: the one door to the executor. It names every rule an intent breaks, holds the
//! trading states, and makes flat when a person or a rule says so.

mod actor;
#[cfg(test)]
mod case;
mod exposure;
mod flatten;
pub mod inputs;
mod permission;
mod protect;
mod recent;
mod restrict;
mod rules;
mod switch;
mod unwind;
mod view;

pub use actor::{
    Answer, CancelAsk, Command, Gate, GateWork, Memory, Placing, ProtectForeign, Protecting, Seal,
    StopWork, Verdict,
};
pub use flatten::{Closing, Flat, Flatten, flatten};
pub use permission::PermissionWatch;
pub use protect::{
    Cover, GuardAction, ProtectedSleeve, ProtectionTerms, can_protect, give_up, plan,
};
pub use recent::{Recent, Sent};
pub use restrict::{consequence, scope_of};
pub use rules::{Approved, Denied, Permit, assess, check, check_permitted};
pub use switch::TradingSwitch;
pub use unwind::{Left, Unwind, UnwindReport, UnwindStep, UnwindTiming, UnwindView};
pub use view::{InFlight, View};
