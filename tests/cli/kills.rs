//! A small slice of the kill loop (`tests/long/kill-loop`), every day: so that what the campaign does still runs, and the commonest damage shows at once.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::home::run;

#[test]
fn killed_backups_and_prunes_lose_nothing_in_a_few_rounds() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/long/kill-loop");
    let mut command = Command::new(script);
    // Three rounds are the fewest in which a prune is killed too.
    command
        .arg("3")
        .env("ARARAT", env!("CARGO_BIN_EXE_ararat"))
        .stdin(Stdio::null());
    let ran = run(&mut command).ends(0);
    assert!(
        ran.out.contains("3 rounds") && ran.out.contains("nothing lost"),
        "{}",
        ran.out
    );
}
