//! Progress: a line that lives on a terminal, nothing in a pipe; and Ctrl-C.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use engine::words::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::show;

/// A person has pressed Ctrl-C.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Shows what a verb does.
pub struct Shown {
    bar: Option<ProgressBar>,
    quiet: bool,
    items: AtomicU64,
    stage: Mutex<String>,
    notes: AtomicU64,
}

impl Shown {
    /// For a terminal when there is one and nobody asked for less.
    pub fn new(quiet: bool, json: bool) -> Self {
        let terminal = !quiet && !json && std::io::IsTerminal::is_terminal(&std::io::stderr());
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(style(false));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        let (items, notes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self {
            bar,
            quiet: quiet || json,
            items,
            stage: Mutex::default(),
            notes,
        }
    }

    /// Takes the line away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(known: bool) -> ProgressStyle {
    let template = if known {
        "{spinner} {msg}  {bar:24} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left"
    } else {
        "{spinner} {msg}  {binary_bytes}  {binary_bytes_per_sec}  {elapsed}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for Shown {
    fn stage(&self, name: &str) {
        if let Ok(mut stage) = self.stage.lock() {
            name.clone_into(&mut stage);
        }
        if let Some(bar) = &self.bar {
            bar.set_message(name.to_owned());
        }
    }

    fn expect(&self, _items: u64, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(bytes);
            bar.set_style(style(bytes > 0));
        }
    }

    fn done(&self, items: u64, bytes: u64) {
        let items = self.items.fetch_add(items, Ordering::Relaxed) + items;
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
            if items.is_multiple_of(64)
                && let Ok(stage) = self.stage.lock()
            {
                bar.set_message(format!("{stage}: {items} files"));
            }
        }
    }

    fn note(&self, text: &str) {
        self.notes.fetch_add(1, Ordering::Relaxed);
        let text = show::safe(text);
        match &self.bar {
            Some(bar) => bar.suspend(|| anstream::eprintln!("{text}")),
            None if !self.quiet => anstream::eprintln!("{text}"),
            None => {}
        }
    }

    fn interrupted(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

/// From now on Ctrl-C (and a polite SIGTERM) asks verbs to stop where it is safe; a second one stops at once.
pub fn catch_interrupts(runtime: &tokio::runtime::Runtime) {
    runtime.spawn(async {
        let Ok(mut terminated) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
            return;
        };
        loop {
            tokio::select! {
                heard = tokio::signal::ctrl_c() => if heard.is_err() { return },
                heard = terminated.recv() => if heard.is_none() { return },
            }
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(i32::from(crate::failure::INTERRUPTED));
            }
            anstream::eprintln!("Stopping where it is safe; once more to stop at once");
        }
    });
}
