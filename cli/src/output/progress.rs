//! Progress: a line that lives on a terminal, nothing in a pipe; and Ctrl-C.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::words::Progress;
use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::show;

/// A person has pressed Ctrl-C.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Shows what a verb does.
pub struct Shown {
    bar: Option<ProgressBar>,
    quiet: bool,
    items: Arc<Items>,
    is_known: AtomicBool,
    notes: AtomicU64,
}

/// Counts that the line shows whenever it is drawn: those who work only add to them.
#[derive(Default)]
struct Items {
    done: AtomicU64,
    expected: AtomicU64,
    /// What they are; nothing is shown when they are nothing.
    word: Mutex<&'static str>,
}

impl std::fmt::Display for Items {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (done, expected) = (self.done.load(Ordering::Relaxed), self.expected.load(Ordering::Relaxed));
        let word = *self.word.lock().unwrap_or_else(PoisonError::into_inner);
        match (word, done, expected) {
            ("", _, _) | (_, 0, 0) => Ok(()),
            (_, _, 0) => write!(f, "  {done} {word}"),
            (_, _, _) => write!(f, "  {done}/{} {word}", expected.max(done)),
        }
    }
}

impl Shown {
    /// For a terminal when there is one and nobody asked for less.
    pub fn new(quiet: bool, json: bool) -> Self {
        let terminal = !quiet && !json && std::io::IsTerminal::is_terminal(&std::io::stderr());
        let items = Arc::<Items>::default();
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(style(false, &items));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            bar,
            quiet: quiet || json,
            items,
            is_known: AtomicBool::new(false),
            notes: AtomicU64::new(0),
        }
    }

    /// Whether somebody looks at it.
    pub fn is_on_terminal(&self) -> bool {
        self.bar.is_some()
    }

    /// A line of the result on standard output, above the line that lives.
    pub fn say(&self, text: &str) -> anyhow::Result<()> {
        match &self.bar {
            Some(bar) => bar.suspend(|| show::line(text)),
            None => show::line(text),
        }
    }

    /// What the line says of items.
    #[cfg(test)]
    pub fn items_text(&self) -> String {
        self.items.to_string()
    }

    /// Takes the line away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(is_known: bool, items: &Arc<Items>) -> ProgressStyle {
    let template = if is_known {
        "{spinner} {msg}{items}  {bar:24} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left"
    } else {
        "{spinner} {msg}{items}{moved}  {elapsed}"
    };
    // Nothing is said of bytes where there are none, as while others are waited for.
    let moved = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        if state.pos() > 0 {
            let rate = BinaryBytes(state.per_sec() as u64);
            let _ = write!(out, "  {}  {rate}/s", BinaryBytes(state.pos()));
        }
    };
    let items = Arc::clone(items);
    let show = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A line that cannot be drawn is drawn anew in a moment.
        let _ = write!(out, "{items}");
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("items", show)
        .with_key("moved", moved)
}

impl Progress for Shown {
    fn stage(&self, name: &str, items: &'static str) {
        *self.items.word.lock().unwrap_or_else(PoisonError::into_inner) = items;
        self.items.done.store(0, Ordering::Relaxed);
        self.expect(0, 0);
        if let Some(bar) = &self.bar {
            bar.set_message(name.to_owned());
            // Rate and time left are the stage's, too.
            bar.reset();
        }
    }

    fn expect(&self, items: u64, bytes: u64) {
        self.items.expected.store(items, Ordering::Relaxed);
        let Some(bar) = &self.bar else { return };
        bar.set_length(bytes);
        if self.is_known.swap(bytes > 0, Ordering::Relaxed) != (bytes > 0) {
            bar.set_style(style(bytes > 0, &self.items));
        }
    }

    fn done(&self, items: u64, bytes: u64) {
        self.items.done.fetch_add(items, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
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

/// Comes back when a person has pressed Ctrl-C.
pub async fn interruption() {
    while !INTERRUPTED.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// From now on Ctrl-C (and a polite SIGTERM) asks verbs to stop where it is safe, and says `advice` unless it is empty; a second one stops at once.
pub fn catch_interrupts(runtime: &tokio::runtime::Runtime, advice: &'static str) {
    runtime.spawn(async move {
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
            if !advice.is_empty() {
                anstream::eprintln!("{advice}");
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_counts_its_own_items_from_nothing() {
        let shown = Shown::new(true, false);
        shown.stage("Walking trees", "snapshots");
        shown.expect(3, 0);
        shown.done(2, 0);
        assert_eq!(shown.items.to_string(), "  2/3 snapshots");
        shown.stage("Reading packs", "packs");
        assert_eq!(shown.items.to_string(), "");
        shown.done(1, 1 << 24);
        assert_eq!(shown.items.to_string(), "  1 packs");
        shown.stage("Condemning", "");
        shown.done(1, 0);
        assert_eq!(shown.items.to_string(), "");
    }
}
