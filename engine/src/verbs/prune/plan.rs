//! What to do with each pack. Pure.

use std::collections::BTreeMap;

use super::survey::Survey;
use crate::words::PackName;

/// What becomes of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackFate {
    /// It stays.
    Keep,
    /// It stays, since the session that wrote it has not ended.
    Running,
    /// No snapshot uses it.
    Condemn,
    /// Its used blobs are moved into new packs; then no snapshot uses it.
    Repack,
}

/// What a prune would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// By pack.
    pub fates: BTreeMap<PackName, PackFate>,
    /// Packs in the store.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packs that no snapshot uses.
    pub unused_packs: u64,
    /// Their bytes.
    pub unused_bytes: u64,
    /// Packs to repack.
    pub repack_packs: u64,
    /// Bytes to move.
    pub repack_bytes: u64,
    /// Bytes that repacking frees.
    pub repack_frees: u64,
    /// Unused bytes in packs that stay.
    pub left_bytes: u64,
}

/// Judges every pack of the survey.
pub(super) fn plan(survey: &Survey, unused_max: f64, repack_bytes_max: u64) -> PrunePlan {
    let mut plan = PrunePlan::default();
    let mut partly: Vec<(f64, PackName, u64, u64)> = Vec::new();
    for (pack, size) in &survey.sizes {
        plan.packs += 1;
        plan.bytes += size;
        let fate = if survey.is_used(pack) {
            let used = survey.used_bytes.get(pack).copied().unwrap_or(*size).min(*size);
            let unused = size - used;
            if unused as f64 > *size as f64 * unused_max && survey.has_ended(pack.session) {
                partly.push((unused as f64 / *size as f64, *pack, used, unused));
            } else {
                plan.left_bytes += unused;
            }
            PackFate::Keep
        } else if !survey.has_ended(pack.session) {
            PackFate::Running
        } else {
            plan.unused_packs += 1;
            plan.unused_bytes += size;
            PackFate::Condemn
        };
        plan.fates.insert(*pack, fate);
    }
    // The emptiest first: most space for the least work.
    partly.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    for (_, pack, used, unused) in partly {
        if plan.repack_bytes + used <= repack_bytes_max {
            plan.fates.insert(pack, PackFate::Repack);
            plan.repack_packs += 1;
            plan.repack_bytes += used;
            plan.repack_frees += unused;
        } else {
            plan.left_bytes += unused;
        }
    }
    plan
}
