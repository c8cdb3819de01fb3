//! How a verb tells what it does. The program that calls the engine decides how that looks.

/// Receives what a verb has done. Methods are called from many threads, often: implementations only count.
pub trait Progress: Send + Sync {
    /// The verb has entered a stage, e.g. "Reading", in which it counts `items`, e.g. "files" (nothing when empty). What was expected and done before
    /// was of the stage before.
    fn stage(&self, _name: &str, _items: &'static str) {}
    /// What is known of the whole stage: items and bytes. Grows while it is being found out.
    fn expect(&self, _items: u64, _bytes: u64) {}
    /// So many more items and bytes are done.
    fn done(&self, _items: u64, _bytes: u64) {}
    /// Something a person should read, at once: a warning, a file that could not be read.
    fn note(&self, _text: &str) {}
    /// Whether the verb should stop as soon as it safely can (a person pressed Ctrl-C).
    fn interrupted(&self) -> bool {
        false
    }
    /// How many of the verb's workers may be at work now; the first always may. Asked before each piece of work, so whoever shares processors among verbs
    /// may change it meanwhile.
    fn workers(&self) -> usize {
        usize::MAX
    }
}

/// Progress that nobody looks at.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}
