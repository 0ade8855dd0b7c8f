//! Bodies of one kind follow each other and are nearly the same: each is kept as what is different
//! from the one before it, which is a tenth of it.
//!
//! Bodies of decisions are stored as differences from the one before, with every 32nd whole: they
//! were nine tenths of the database.

use std::collections::HashMap;
use std::io;

use crate::domain::inputs::InputStage;

/// So many bodies are told by the one before them; then one is kept whole again, so that reading
/// any of them is a matter of milliseconds, and damage reaches so far and no further.
const IN_A_ROW: u32 = 32;
/// zstd's level.
const LEVEL: i32 = 3;

/// Kind of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum BodyKind {
    Snapshot,
    Seen(InputStage),
    Output(InputStage),
}

/// Bodies as they follow each other in one process.
#[derive(Debug, Default)]
pub(super) struct Packer {
    last: HashMap<BodyKind, LastBody>,
}

#[derive(Debug)]
struct LastBody {
    hash: [u8; 32],
    body: Vec<u8>,
    /// Number of earlier bodies that it depends on.
    behind: u32,
}

/// Stored form of a body.
pub(super) struct Packed {
    pub bytes: Vec<u8>,
    /// The body that it is told by; `None`: it is whole.
    pub base: Option<[u8; 32]>,
}

impl Packer {
    /// Packs the next body of a kind, which has this hash.
    pub(super) fn pack(
        &mut self,
        kind: BodyKind,
        hash: [u8; 32],
        body: &[u8],
    ) -> io::Result<Packed> {
        let base = self
            .last
            .get(&kind)
            .filter(|last| last.behind + 1 < IN_A_ROW);
        let bytes = match base {
            Some(last) => {
                zstd::bulk::Compressor::with_dictionary(LEVEL, &last.body)?.compress(body)?
            }
            None => zstd::bulk::compress(body, LEVEL)?,
        };
        let (base, behind) = base.map_or((None, 0), |last| (Some(last.hash), last.behind + 1));
        self.last.insert(
            kind,
            LastBody {
                hash,
                body: body.to_vec(),
                behind,
            },
        );
        Ok(Packed { bytes, base })
    }

    /// The newest body of a kind, if it is the one with this hash.
    pub(super) fn newest(&self, kind: BodyKind, hash: [u8; 32]) -> Option<&[u8]> {
        self.last
            .get(&kind)
            .filter(|last| last.hash == hash)
            .map(|last| &last.body[..])
    }
}

/// Unpacks a body of `size` bytes that is told by `base`.
pub(super) fn unpack(bytes: &[u8], size: usize, base: Option<&[u8]>) -> io::Result<Vec<u8>> {
    match base {
        Some(base) => zstd::bulk::Decompressor::with_dictionary(base)?.decompress(bytes, size),
        None => zstd::bulk::decompress(bytes, size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each body is packed against the one before, with a whole one at intervals; another kind
    /// starts afresh.
    #[test]
    fn packed_bodies_unpack_unchanged() {
        let mut packer = Packer::default();
        let body = |n: u32| {
            let rows: Vec<String> = (0..60)
                .map(|i| format!(r#"{{"inst":"I{i}","px":"{}"}}"#, n * 7 + i))
                .collect();
            rows.join(",").into_bytes()
        };
        let (mut before, mut whole, mut told) = (Vec::new(), 0, 0);
        for n in 0..100u32 {
            let hash = [u8::try_from(n).unwrap(); 32];
            let packed = packer
                .pack(BodyKind::Seen(InputStage::Gate), hash, &body(n))
                .unwrap();
            assert_eq!(packed.base.is_none(), n % IN_A_ROW == 0, "{n}");
            let base = packed.base.map(|base| {
                assert_eq!(u32::from(base[0]), n - 1);
                told += packed.bytes.len();
                &before[..]
            });
            whole += usize::from(base.is_none()) * packed.bytes.len();
            assert_eq!(unpack(&packed.bytes, body(n).len(), base).unwrap(), body(n));
            before = body(n);
        }
        assert!(told / 96 < whole / 4, "{} against {}", told / 96, whole / 4);
        // Another kind begins for itself.
        assert!(
            packer
                .pack(BodyKind::Snapshot, [0; 32], b"x")
                .unwrap()
                .base
                .is_none()
        );
    }
}
