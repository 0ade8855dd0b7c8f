//! The fault catalogue, row by row: what is injected, and that nothing is lost, doubled, imagined
//! or sent that must not be. Each test names its row.

mod disk;
mod environment;
mod flat;
mod halts;
mod latching;
mod network;
mod process;
mod proxy;
mod reconcile;
mod record;
mod risk;
mod roster;
mod scene;
mod start;
mod wire;
