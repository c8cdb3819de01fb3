//! The least that a first backup can cost: its unavoidable work on given bytes, and nothing else.
//!
//! `cargo bench -p engine --bench roofline -- PATH [ROUNDS [WORKERS]]`. Reads every file below PATH, cuts, hashes, compresses, seals and stores it, with
//! the engine's own primitives and as many threads as a backup has, but without tree, index, references, change detection, metadata beyond the size,
//! order or report. Says what each primitive took, and beside it, in turns, what `ararat repo backup` of the same tree takes. Nothing is asserted.
//! Without `--bench`, as tests are run, it does one round over this package's sources, without the program.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "It is a bench: it stops at the first surprise, and prints"
)]

#[path = "roofline/clock.rs"]
mod clock;
#[path = "roofline/program.rs"]
mod program;
#[path = "roofline/work.rs"]
mod work;

use std::path::PathBuf;
use std::time::Instant;

use clock::{Part, process_cpu_s};

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let full = arguments.iter().any(|argument| argument == "--bench");
    arguments.retain(|argument| !argument.starts_with("--"));
    let number = |place: usize, otherwise: usize| arguments.get(place).map_or(otherwise, |text| text.parse().unwrap());
    let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let path = arguments.first().map_or(sources, PathBuf::from);
    let rounds = if full { number(1, 3) } else { 1 };
    let workers = number(2, std::thread::available_parallelism().map_or(2, usize::from));
    let (mut ratios_wall, mut ratios_cpu) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let begun = (Instant::now(), process_cpu_s());
        let folder =
            tempfile::tempdir_in(std::env::var_os("ROOFLINE_DIR").unwrap_or_else(|| "/var/tmp".into())).unwrap();
        let done = work::run(&path, folder.path(), workers);
        let (wall, cpu) = (begun.0.elapsed().as_secs_f64(), process_cpu_s() - begun.1);
        drop(folder);
        println!(
            "round {round}: {} files, {:.1} MiB read, {:.1} MiB stored, {workers} threads: wall {wall:.2} s, CPU {cpu:.2} s",
            done.files,
            done.read as f64 / f64::from(1 << 20),
            done.stored as f64 / f64::from(1 << 20),
        );
        let parts: Vec<String> = Part::ALL
            .iter()
            .map(|part| format!("{} {:.2}", part.name(), done.spent.of(*part)))
            .collect();
        println!("  CPU seconds: {}", parts.join(", "));
        if full {
            let cost = program::first_backup(&path);
            println!(
                "  ararat: wall {:.2} s ({:.2} times), CPU {:.2} s ({:.2} times)",
                cost.wall_s,
                cost.wall_s / wall,
                cost.cpu_s,
                cost.cpu_s / cpu
            );
            ratios_wall.push(cost.wall_s / wall);
            ratios_cpu.push(cost.cpu_s / cpu);
        }
    }
    if full {
        println!(
            "medians: wall {:.2}, CPU {:.2} times the roofline",
            median(ratios_wall),
            median(ratios_cpu)
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
