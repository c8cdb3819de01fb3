//! Cutting what a reader gives: one window of bounded size, chunks lent from it without a copy.
//!
//! The window holds the largest chunk and a few more, so that few bytes are moved when it is filled again: what is left over then is less than a chunk.

use std::io::{self, Read};

use super::Chunker;

/// A buffer to read through; can serve one reader after another. Allocated when it is first used.
#[derive(Default)]
pub struct Window {
    buffer: Vec<u8>,
}

impl Window {
    /// A window with no buffer yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// At least `capacity` bytes to read into.
    fn reserve(&mut self, capacity: usize) {
        if self.buffer.len() < capacity {
            // A fresh zeroed vector, not a resize: the system gives zero pages, and small files never touch most of them.
            self.buffer = vec![0; capacity];
        }
    }
}

/// A chunk as it lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut<'a> {
    /// Where it begins, in bytes from where the reader began.
    pub offset: u64,
    /// Its bytes; never none.
    pub data: &'a [u8],
}

/// The chunks of a reader, one after another. Not an iterator: each chunk is lent until the next is asked for.
pub struct Cuts<'a, R> {
    chunker: &'a Chunker,
    reader: R,
    window: &'a mut Window,
    /// The bytes at hand: `start..end` of the window's buffer.
    start: usize,
    end: usize,
    offset: u64,
    exhausted: bool,
}

impl<'a, R: Read> Cuts<'a, R> {
    pub(super) fn new(chunker: &'a Chunker, reader: R, window: &'a mut Window) -> Self {
        let largest = chunker.size_max();
        window.reserve(largest + largest / 2);
        Self {
            chunker,
            reader,
            window,
            start: 0,
            end: 0,
            offset: 0,
            exhausted: false,
        }
    }

    /// The next chunk; `None` at the end. After an error the reader's place is unknown: give up on it.
    ///
    /// # Errors
    /// What the reader says; an interrupted read is tried again.
    #[expect(clippy::should_implement_trait, reason = "it lends, which an iterator cannot")]
    pub fn next(&mut self) -> io::Result<Option<Cut<'_>>> {
        let length = loop {
            if let Some(length) = self
                .chunker
                .cut(&self.window.buffer[self.start..self.end], self.exhausted)
            {
                break length;
            }
            if self.exhausted {
                return Ok(None);
            }
            self.fill()?;
        };
        let offset = self.offset;
        let start = self.start;
        self.start += length;
        self.offset += length as u64;
        Ok(Some(Cut {
            offset,
            data: &self.window.buffer[start..start + length],
        }))
    }

    /// How many bytes were cut so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The reader, wherever it has got to.
    pub fn into_reader(self) -> R {
        self.reader
    }

    /// Moves what is left to the front and reads until the window is full: a scan for a cut begins anew with every attempt, so attempts must be few.
    fn fill(&mut self) -> io::Result<()> {
        self.window.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < self.window.buffer.len() {
            match self.reader.read(&mut self.window.buffer[self.end..]) {
                Ok(0) => {
                    self.exhausted = true;
                    break;
                }
                // A reader that claims more than it was given room for is wrong; do not be drawn into it.
                Ok(count) => self.end = (self.end + count).min(self.window.buffer.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{noise, reference, small};
    use super::*;

    /// Gives at most `step` bytes at a time, and is interrupted now and then.
    struct Trickle<'a> {
        data: &'a [u8],
        step: usize,
        calls: usize,
    }

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(5) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = self.step.min(buffer.len()).min(self.data.len());
            buffer[..count].copy_from_slice(&self.data[..count]);
            self.data = &self.data[count..];
            Ok(count)
        }
    }

    fn collect(chunker: &Chunker, reader: impl Read, window: &mut Window, data: &[u8]) -> Vec<usize> {
        let mut cuts = chunker.cuts(reader, window);
        let mut found = Vec::new();
        while let Some(cut) = cuts.next().unwrap() {
            let start = usize::try_from(cut.offset).unwrap();
            assert_eq!(cut.data, &data[start..start + cut.data.len()]);
            found.push(start + cut.data.len());
        }
        found
    }

    proptest! {
        #[test]
        fn cuts_do_not_depend_on_how_the_bytes_arrive(seed: u64, length in 0usize..20_000, step in 1usize..3000) {
            let data = noise(seed, length);
            let chunker = small();
            let mut window = Window::new();
            for _ in 0..2 {
                let reader = Trickle { data: &data, step, calls: 0 };
                prop_assert_eq!(collect(&chunker, reader, &mut window, &data), reference(&chunker, &data));
            }
        }
    }

    #[test]
    fn one_window_serves_many_files() {
        let chunker = small();
        let mut window = Window::new();
        for length in [5000, 0, 1, 64, 65, 1024, 1025, 12_000] {
            let data = noise(length, usize::try_from(length).unwrap());
            assert_eq!(
                collect(&chunker, &data[..], &mut window, &data),
                reference(&chunker, &data)
            );
        }
    }

    #[test]
    fn an_error_of_the_reader_is_passed_on() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        let chunker = small();
        let mut window = Window::new();
        let error = chunker.cuts(Broken, &mut window).next().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
