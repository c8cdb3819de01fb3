//! The rules of the protocol, one switch each.
//!
//! `Rules::default()` is the protocol as Ararat runs it. `broken.rs` switches one rule off at a time and shows the
//! counterexample. A field's comment says what the protocol does when the switch is on.

/// Which rules are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// W1: a session writes `open` before it reads the newest generation.
    pub open_before_view: bool,
    /// W2: a session refers to no pack that its view condemns.
    pub not_condemned: bool,
    /// W2: a carried-over reference counts only if the view's index *knows* its pack; it is not enough that the
    /// view's lists of condemned and dead packs lack it.
    pub known_to_the_view: bool,
    /// W3: packs, segments and the reference list are durable before `end` is created.
    pub durable_before_commit: bool,
    /// W3: "exists" is answered by reading `end` back and comparing the nonce.
    pub read_back_end: bool,
    /// W3: the session that follows a fenced one checks every reference it takes over.
    pub recheck_after_fence: bool,
    /// W3: having created `end`, a session reads `open` before it reports success.
    pub read_open_after_commit: bool,
    /// W4: all held references are checked against the new view before `at-<v>` is written.
    pub recheck_before_at: bool,
    /// W4: new references are checked against the new view from the moment it was read.
    pub new_view_for_new_references: bool,
    /// G1: only packs of sessions that had ended when they were listed are condemned.
    pub condemn_ended_only: bool,
    /// G1: what a reader has pinned is not condemned.
    pub pins_spare_packs: bool,
    /// G1, G3: a generation is created only if its number is free.
    pub create_generations_if_absent: bool,
    /// G1, G3: "exists" after a lost reply is answered by reading the generation back.
    pub read_back_generation: bool,
    /// Generations are never deleted, so a number once used stays used.
    pub keep_generations: bool,
    /// G2: the sessions of the barrier are listed after the generation was published.
    pub list_after_publish: bool,
    /// G2: every listed session is waited for or fenced.
    pub wait_or_fence: bool,
    /// G2: read sessions are waited for or fenced like any other.
    pub wait_for_readers: bool,
    /// B4: a session without `at-<v>` counts as one with an old view.
    pub unknown_view_is_old: bool,
    /// G3: packs named by commits that the condemning generation did not count are spared.
    pub count_late_commits: bool,
    /// G3: "late" is meant against the generation that condemned the pack, not the one this maintainer published.
    pub late_by_condemning_generation: bool,
    /// G3: only packs condemned at or before the barrier's generation die.
    pub only_condemned_before_barrier: bool,
    /// G3: the next generation carries on the content of the newest one.
    pub succeed_the_newest: bool,
    /// G4: packs are deleted only once a generation lists them as dead.
    pub publish_dead_before_delete: bool,
    /// B1: a dead pack stays listed until its session is retired, segments and all, so that nothing names it.
    pub dead_stay_listed: bool,
    /// B2: another session's segment counts only if its `open` was seen after the view was read.
    pub open_seen_after_view: bool,
    /// B2: of a fenced session only the segments count that its `end` counts.
    pub fenced_end_counts_segments: bool,
    /// B2: that a session runs is seen after its segments were listed, not only before.
    pub runs_after_segments_are_listed: bool,
    /// B3: late commits are found in the newest catalogue too, not by their markers alone.
    pub late_commits_from_catalogue: bool,
    /// B5: packs that landed after their session was fenced are condemned like any other, not deleted at sight.
    pub junk_is_condemned_first: bool,
    /// Retirement: a session is folded into the catalogue before its markers go.
    pub fold_before_retiring: bool,
    /// Retirement: `open` goes before `end`.
    pub open_goes_first: bool,
    /// Retirement: the `end` of a fenced session stays for ever, so that its writer, however late it wakes, finds it.
    pub keep_fenced_ends: bool,
    /// A commit counts only if its `open` exists or the catalogue lists it.
    pub commit_needs_open: bool,
    /// A session whose `open` was not acknowledged at once is given up for one with a fresh id, so that no copy of
    /// that PUT can land after the session was retired.
    pub fresh_id_after_lost_open: bool,
    /// Relocation: a late reference that no table moves takes its pack back.
    pub take_back: bool,
    /// Relocation: a blob that the view's tables moved is referred to at its new place only.
    pub relocated_is_looked_up_again: bool,
    /// Relocation: every maintainer resolves through the tables in the same order (first folded wins).
    pub one_order_of_tables: bool,
    /// Relocation: before a table is dropped, the references of all ended sessions are rewritten, those that are
    /// folded in the same generation too.
    pub rewrite_before_dropping: bool,
    /// Readers: the pin (`open` of the read session) is written before the newest generation is read.
    pub pin_before_view: bool,
    /// Readers: a pin holds only if the view condemns none of the snapshot's packs.
    pub pin_checks_condemned: bool,
    /// Readers: "missing" is reported only against the generation that is newest after the miss.
    pub missing_against_newest: bool,
    /// Readers: a listing of snapshots lists the sessions before it reads the newest generation.
    pub list_before_catalogue: bool,
    /// Without create-if-absent: the writer reads `fence` after it has put `commit`.
    pub read_fence_after_commit: bool,
    /// Without create-if-absent: the maintainer reads `commit` after it has put `fence`.
    pub read_commit_after_fence: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            open_before_view: true,
            not_condemned: true,
            known_to_the_view: true,
            durable_before_commit: true,
            read_back_end: true,
            recheck_after_fence: true,
            read_open_after_commit: true,
            recheck_before_at: true,
            new_view_for_new_references: true,
            condemn_ended_only: true,
            pins_spare_packs: true,
            create_generations_if_absent: true,
            read_back_generation: true,
            keep_generations: true,
            list_after_publish: true,
            wait_or_fence: true,
            wait_for_readers: true,
            unknown_view_is_old: true,
            count_late_commits: true,
            late_by_condemning_generation: true,
            only_condemned_before_barrier: true,
            succeed_the_newest: true,
            publish_dead_before_delete: true,
            dead_stay_listed: true,
            open_seen_after_view: true,
            fenced_end_counts_segments: true,
            runs_after_segments_are_listed: true,
            late_commits_from_catalogue: true,
            junk_is_condemned_first: true,
            fold_before_retiring: true,
            open_goes_first: true,
            keep_fenced_ends: true,
            commit_needs_open: true,
            fresh_id_after_lost_open: true,
            take_back: true,
            relocated_is_looked_up_again: true,
            one_order_of_tables: true,
            rewrite_before_dropping: true,
            pin_before_view: true,
            pin_checks_condemned: true,
            missing_against_newest: true,
            list_before_catalogue: true,
            read_fence_after_commit: true,
            read_commit_after_fence: true,
        }
    }
}
