//! The protocol with all its rules, explored to the end within stated bounds.
//!
//! Every run explores the first bounds of each test; `ARARAT_MODEL=full` explores the second, wider ones.

use crate::claims::{NEVER_DELETED, ONE_OUTCOME};
use crate::config::{Config, Reading, Store};
use crate::run::{explore, full, refuted};

/// Three writers of one blob, two maintainers; the base snapshot may be forgotten at any moment.
fn three() -> Config {
    Config {
        wants: &[1, 1, 1],
        rounds: &[1, 1],
        last_generation: 5,
        base_forgotten: false,
        forget_base: true,
        ..Config::default()
    }
}

/// Two writers of one blob, otherwise the same.
fn two() -> Config {
    Config {
        wants: &[1, 1],
        ..three()
    }
}

#[test]
fn three_writers_two_maintainers_and_a_reader_lose_nothing() {
    let config = Config {
        name: "three writers and a reader",
        reader: Reading::Unpinned,
        ..three()
    };
    explore(if full() {
        Config {
            forget_others: true,
            ..config
        }
    } else {
        config
    });
}

#[test]
fn a_pinned_reader_reads_to_the_end() {
    let config = Config {
        name: "a pinned reader",
        wants: &[1],
        reader: Reading::Pinned,
        ..three()
    };
    explore(if full() {
        Config {
            wants: &[1, 1, 1],
            ..config
        }
    } else {
        config
    });
}

#[test]
fn writers_that_start_again_when_fenced() {
    let config = Config {
        name: "writers that start again",
        retries: true,
        base_forgotten: true,
        ..three()
    };
    explore(if full() {
        Config {
            wants: &[1, 1],
            ..config
        }
    } else {
        Config { rounds: &[1], ..config }
    });
}

#[test]
fn long_runs_that_advance_their_views() {
    let config = Config {
        name: "long runs",
        advance: true,
        ..two()
    };
    explore(if full() {
        Config {
            wants: &[1, 1, 1],
            ..config
        }
    } else {
        config
    });
}

#[test]
fn ended_sessions_are_retired_safely() {
    let config = Config {
        name: "retirement",
        rounds: &[2],
        retire: true,
        base_forgotten: true,
        forget_others: true,
        ..two()
    };
    explore(if full() {
        Config {
            rounds: &[1, 2],
            ..config
        }
    } else {
        config
    });
}

#[test]
fn lost_replies_are_told_from_lost_races() {
    let config = Config {
        name: "lost replies",
        wants: &[1],
        retire: true,
        lost_replies: 2,
        ..two()
    };
    explore(if full() {
        Config {
            wants: &[1, 1],
            base_forgotten: true,
            ..config
        }
    } else {
        config
    });
}

#[test]
fn a_pack_in_use_is_relocated_safely() {
    let config = Config {
        name: "relocation",
        wants: &[1, 2],
        base_blobs: 3,
        repackers: 1,
        rounds: &[1],
        reader: Reading::Unpinned,
        ..three()
    };
    explore(if full() {
        Config {
            rounds: &[1, 1],
            ..config
        }
    } else {
        config
    });
}

#[test]
fn a_long_run_follows_a_relocation() {
    let config = Config {
        name: "long runs and relocation",
        wants: &[1],
        base_blobs: 3,
        repackers: 1,
        advance: true,
        ..three()
    };
    explore(if full() {
        Config {
            wants: &[1, 2],
            rounds: &[1],
            ..config
        }
    } else {
        config
    });
}

#[test]
fn a_pinned_reader_keeps_a_relocated_pack() {
    let config = Config {
        name: "a pinned reader and relocation",
        wants: &[],
        repackers: 1,
        reader: Reading::Pinned,
        ..three()
    };
    explore(if full() {
        Config { wants: &[1], ..config }
    } else {
        config
    });
}

#[test]
fn listings_are_whole_while_sessions_are_retired() {
    let config = Config {
        name: "listing",
        retire: true,
        base_forgotten: true,
        reader: Reading::Lister,
        rounds: &[2],
        ..two()
    };
    explore(if full() {
        Config {
            rounds: &[1, 1],
            ..config
        }
    } else {
        config
    });
}

#[test]
fn tables_are_dropped_safely() {
    let config = Config {
        name: "dropping tables",
        wants: &[1],
        base_blobs: 3,
        repackers: 2,
        rewrite: true,
        rounds: &[2],
        ..three()
    };
    explore(if full() {
        Config {
            wants: &[1, 2],
            repackers: 1,
            rounds: &[1, 2],
            ..config
        }
    } else {
        config
    });
}

#[test]
fn two_relocations_side_by_side_or_in_a_row_are_safe() {
    let config = Config {
        name: "two relocations",
        wants: &[1],
        base_blobs: 3,
        repackers: 2,
        rounds: &[1],
        reader: Reading::Unpinned,
        ..three()
    };
    explore(if full() {
        Config {
            rounds: &[1, 1],
            reader: Reading::Nobody,
            ..config
        }
    } else {
        config
    });
}

#[test]
fn without_create_if_absent_exclusive_maintenance_is_safe() {
    let config = Config {
        name: "no create-if-absent, exclusive",
        rounds: &[1, 1],
        retries: true,
        store: Store::PlainExclusive,
        ..two()
    };
    explore(if full() {
        Config {
            wants: &[1, 1, 1],
            ..config
        }
    } else {
        config
    });
}

#[test]
fn without_create_if_absent_one_maintainer_beside_writers_is_safe() {
    let config = Config {
        name: "no create-if-absent, one maintainer",
        wants: &[1],
        rounds: &[1],
        retries: true,
        last_generation: 3,
        store: Store::Plain,
        ..two()
    };
    explore(if full() {
        Config {
            wants: &[1, 1],
            ..config
        }
    } else {
        config
    });
}

#[test]
fn without_create_if_absent_two_maintainers_tell_two_stories() {
    refuted(
        ONE_OUTCOME,
        Config {
            wants: &[1],
            last_generation: 4,
            store: Store::Plain,
            ..two()
        },
    );
}

/// Why Ararat refuses it.
#[test]
fn without_create_if_absent_two_maintainers_lose_data() {
    refuted(
        NEVER_DELETED,
        Config {
            wants: &[1, 2],
            last_generation: 4,
            store: Store::Plain,
            ..two()
        },
    );
}
