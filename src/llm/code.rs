//! Why a reply, or one item of it, is not acted on. Stable words: they are in the database and in
//! statistics.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $word:literal),+ $(,)?) => {
        /// Outcome of a reply or of one of its items, in the order of the checks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $name),+ }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Code] = &[$(Code::$name),+];
            /// Returns the code's word in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $word),+ }
            }
        }
    };
}

codes! {
    /// Acted on, or there is nothing to do.
    Accepted => "accepted",
    // 1: transport.
    /// No answer within the deadline.
    Timeout => "timeout",
    /// No connection could be made: the request was never sent.
    Unsent => "unsent",
    /// The connection failed.
    Unreachable => "unreachable",
    /// The server said something else than 2xx.
    HttpStatus => "http_status",
    /// Key or model are refused: nothing that time mends.
    Forbidden => "forbidden",
    /// This request is refused; another may not be.
    Rejected => "rejected",
    /// Too often, or no more credit.
    RateLimited => "rate_limited",
    /// More bytes than an answer may have.
    TooLong => "too_long",
    /// No chat completion.
    Shape => "shape",
    /// Cut off, filtered, or a call of a tool.
    Unfinished => "unfinished",
    /// The model will not answer.
    Refusal => "refusal",
    /// Reply without content.
    Empty => "empty",
    /// Reply that came after its time was over.
    Late => "late",
    /// Process ended before there was an answer.
    Lost => "lost",
    // 2: syntax.
    /// Not one JSON object and nothing else.
    Syntax => "syntax",
    DuplicateKey => "duplicate_key",
    /// A number that is not plain digits in a string.
    NumberFormat => "number_format",
    // 3: schema.
    UnknownKey => "unknown_key",
    MissingKey => "missing_key",
    /// A value of another type, or not one of those allowed.
    BadValue => "bad_value",
    Version => "version",
    /// Answer to another question.
    Snap => "snap",
    // 4: universe and state.
    UnknownSymbol => "unknown_symbol",
    SymbolTwice => "symbol_twice",
    /// Opening what is held, closing what is not.
    ActionState => "action_state",
    /// The other side in one step.
    Flip => "flip",
    /// A side or an action that is not allowed now.
    NotAllowed => "not_allowed",
    /// The risk named is none, or more than allowed.
    RiskSize => "risk_size",
    // 5: prices.
    StopMissing => "stop_missing",
    StopSide => "stop_side",
    StopDistance => "stop_distance",
    StopLiquidation => "stop_liquidation",
    StopLooser => "stop_looser",
    TargetMissing => "target_missing",
    TargetSide => "target_side",
    TargetFar => "target_far",
    Probability => "probability",
    Predicate => "predicate",
    // 6: economics.
    RewardRisk => "reward_risk",
    TooSmall => "too_small",
    Depth => "depth",
    /// The day's calls, tokens or dollars are spent.
    Budget => "budget",
    // 7: the profile's own limits; the gate's come after.
    MaxPositions => "max_positions",
    OpensPerDay => "opens_per_day",
    Cooldown => "cooldown",
    /// Too much one way with what moves alike.
    Cluster => "cluster",
    /// Only what takes risk off: budget, breaker, halt.
    CloseOnly => "close_only",
    // 8: time.
    Stale => "stale",
    Moved => "moved",
    NoMarket => "no_market",
    // 9: idempotency.
    Repeated => "repeated",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Code {
    /// One more question may mend it: the model has answered, but not in the form asked for.
    pub const fn is_form(self) -> bool {
        matches!(
            self,
            Code::Syntax
                | Code::DuplicateKey
                | Code::NumberFormat
                | Code::UnknownKey
                | Code::MissingKey
                | Code::BadValue
                | Code::Version
                | Code::Snap
        )
    }
    /// Asking again after a while may help: the server or the way to it failed, not the model.
    pub const fn is_passing(self) -> bool {
        matches!(
            self,
            Code::Timeout | Code::Unsent | Code::Unreachable | Code::HttpStatus | Code::RateLimited
        )
    }
}
