//! The shared nouns: what flows between the stages.
//!
//! Knows units, instruments, orders and the arithmetic of fills. Does no IO, reads no clock,
//! makes no random ids, names no stage.

pub mod account;
pub mod algo;
pub mod books;
pub mod candle;
pub mod equity;
pub mod halt;
pub mod ids;
pub mod inputs;
pub mod instrument;
pub mod intent;
pub mod lifecycle;
pub mod model;
pub mod order;
pub mod permission;
pub mod record;
pub mod rule;
pub mod series;
pub mod tally;
pub mod time;
pub mod trading;
pub mod units;
pub mod view;

pub use account::{AccountView, Balance, BaselineSubject, Bill, Position};
pub use algo::{AlgoState, StopOrder};
pub use candle::{Bar, Candle};
pub use equity::EquityBook;
pub use halt::{Incident, IncidentKind};
pub use ids::{ClOrdId, ContenderId, InstId, OrderId, OrderName, RunId, TradeId, VenueOrdId};
pub use instrument::{InstKind, InstState, Instrument};
pub use intent::{
    GoodFor, OrdType, OrderIntent, Purpose, Retire, Side, StopSpec, Then, WorkingPolicy,
};
pub use lifecycle::{Happened, IllegalMove, OrderState};
pub use order::{Fill, Liquidity, Order, VenueReport, VenueStatus};
pub use permission::{Departure, Leave, Objection, Permission, Reducing};
pub use rule::{BreachAction, Limit, Limits, Reach, Release, Rule, Unit};
pub use series::Series;
pub use tally::Tally;
pub use time::Ms;
pub use trading::{Restriction, Restrictions, Scope, Shield, TradingState};
pub use units::{Bps, Price, Qty, Usd};
pub use view::{Extras, MarketView, OrdersView, Quote, Readiness};
