//! From the engine, which writes, to a download, which is read: in parts, and never further ahead than the reader lets it.

use std::io::{Error, ErrorKind, Write};

use axum::body::Bytes;

use crate::server::Output;

/// A part has about so many bytes.
const PART: usize = 256 << 10;

/// Writes into a download, on a thread that may wait.
pub struct Stream {
    output: Output,
    part: Vec<u8>,
}

impl Stream {
    /// Nothing is written yet.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            part: Vec::with_capacity(PART),
        }
    }

    fn send(&mut self) -> std::io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART));
        let gone = |_| Error::new(ErrorKind::BrokenPipe, "the reader is gone");
        self.output.blocking_send(Ok(Bytes::from(part))).map_err(gone)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.part.extend_from_slice(bytes);
        if self.part.len() >= PART {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.send()
    }
}

/// Lets `write` write a download; its failure is the download's.
pub fn fill<E: std::fmt::Display>(output: Output, write: impl FnOnce(&mut Stream) -> Result<(), E>) {
    let mut stream = Stream::new(output.clone());
    let written = write(&mut stream).map_err(|error| error.to_string());
    let written = written.and_then(|()| stream.flush().map_err(|error| error.to_string()));
    if let Err(error) = written {
        // Nobody may be reading any more.
        let _ = output.blocking_send(Err(Error::other(error)));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(write: impl FnOnce(&mut Stream) -> Result<(), String> + Send + 'static) -> (usize, Option<String>) {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(2);
        let writer = std::thread::spawn(move || fill(sender, write));
        let (mut bytes, mut failure) = (0, None);
        while let Some(part) = receiver.blocking_recv() {
            match part {
                Ok(part) => bytes += part.len(),
                Err(error) => failure = Some(error.to_string()),
            }
        }
        writer.join().unwrap();
        (bytes, failure)
    }

    #[test]
    fn everything_arrives_and_a_failure_is_never_a_short_end() {
        let whole = read(|stream| {
            for _ in 0..1000 {
                stream.write_all(&[7; 1000]).map_err(|error| error.to_string())?;
            }
            Ok(())
        });
        assert_eq!(whole, (1_000_000, None));
        let (bytes, failure) = read(|stream| {
            stream.write_all(&[7; 1 << 20]).map_err(|error| error.to_string())?;
            Err("the pack is damaged".to_owned())
        });
        assert_eq!((bytes, failure.as_deref()), (1 << 20, Some("the pack is damaged")));
    }

    #[test]
    fn a_reader_that_goes_away_stops_the_writer() {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        drop(receiver);
        let mut stream = Stream::new(sender);
        assert!(stream.write_all(&[0; PART]).is_err());
    }
}
