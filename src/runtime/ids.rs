//! Source of run ids: UUIDv7 over the time passed in and a counter seeded once.

use std::sync::Mutex;

use uuid::{Builder, Uuid};

use crate::domain::{Ms, RunId};

/// A source of run ids. Seeded, so that a replay gets the same ones.
#[derive(Debug)]
pub struct RunIds(Mutex<u64>);

impl RunIds {
    /// The ids that follow from `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// A seed from the system's randomness, for a live process.
    pub fn random() -> Self {
        Self::seeded(Uuid::new_v4().as_u64_pair().0)
    }

    /// The next id, stamped with `now`.
    pub fn next(&self, now: Ms) -> RunId {
        let mut state = self.0.lock().expect("no holder of this lock can panic");
        let mut word = || {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        let mut random = [0u8; 10];
        random[..8].copy_from_slice(&word().to_be_bytes());
        random[8..].copy_from_slice(&word().to_be_bytes()[..2]);
        RunId(
            Builder::from_unix_timestamp_millis(u64::try_from(now.0).unwrap_or(0), &random)
                .into_uuid(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same seed gives the same ids; two ids of one generator always differ.
    #[test]
    fn seeded_ids_repeat_and_stay_unique() {
        let (a, b) = (RunIds::seeded(1), RunIds::seeded(1));
        let first = a.next(Ms(1_700_000_000_000));
        assert_eq!(first, b.next(Ms(1_700_000_000_000)));
        assert_ne!(first, a.next(Ms(1_700_000_000_000)));
        assert_eq!(first.0.get_version_num(), 7);
    }
}
