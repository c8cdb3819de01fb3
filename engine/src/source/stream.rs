//! Sources that are no files: a reader that is given, and the output of a command.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::words::{Error, Result};

/// Bytes from somewhere, and how to learn whether they were all.
pub struct StreamSource {
    /// The bytes, until the end.
    pub reader: Box<dyn Read + Send>,
    /// To be asked after the end.
    pub completion: Completion,
}

/// Says whether a stream that has ended was whole.
#[derive(Debug)]
pub struct Completion {
    command: Option<(OsString, Child)>,
}

impl fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSource")
            .field("completion", &self.completion)
            .finish_non_exhaustive()
    }
}

impl StreamSource {
    /// A reader that is given, e.g. standard input. Its end is its end.
    pub fn of_reader(reader: impl Read + Send + 'static) -> Self {
        Self {
            reader: Box::new(reader),
            completion: Completion { command: None },
        }
    }

    /// Starts a command (no shell in between) and takes its standard output. It gets no input; what it says on
    /// standard error goes where this process's does. Fails when it cannot be started.
    pub fn of_command(program: &OsStr, arguments: &[OsString]) -> Result<Self> {
        let failed = |error| Error::io("run", PathBuf::from(program), error);
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(failed)?;
        let output = child.stdout.take();
        let completion = Completion {
            command: Some((program.to_os_string(), child)),
        };
        let output = output.ok_or_else(|| failed(io::Error::other("it has no standard output")))?;
        Ok(Self {
            reader: Box::new(output),
            completion,
        })
    }
}

impl Completion {
    /// Waits for the command, after the end of its output. Fails unless it ended with exit code 0: what it wrote then
    /// must not pass for whole.
    pub fn finish(mut self) -> Result<()> {
        let Some((program, mut child)) = self.command.take() else {
            return Ok(());
        };
        let failed = |error| Error::io("run", PathBuf::from(&program), error);
        let status = child.wait().map_err(failed)?;
        if status.success() {
            Ok(())
        } else {
            Err(failed(io::Error::other(format!("it ended with {status}"))))
        }
    }
}

impl Drop for Completion {
    /// A command that nobody waits for is stopped, and leaves no zombie.
    fn drop(&mut self) {
        if let Some((_, child)) = &mut self.command {
            // It may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn shell(script: &str) -> StreamSource {
        StreamSource::of_command(OsStr::new("sh"), &["-c".into(), script.into()]).unwrap()
    }

    #[test]
    fn output_of_a_command_is_whole_when_it_ends_well() {
        let mut stream = shell("printf 'a\\000b'; cat");
        let mut all = Vec::new();
        stream.reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"a\0b");
        stream.completion.finish().unwrap();
    }

    #[test]
    fn a_command_that_fails_fails_its_stream() {
        let mut stream = shell("echo half; exit 3");
        let mut all = String::new();
        stream.reader.read_to_string(&mut all).unwrap();
        assert_eq!(all, "half\n");
        let error = stream.completion.finish().unwrap_err().to_string();
        assert_eq!(error, "Could not run sh: it ended with exit status: 3");
        let missing = StreamSource::of_command(OsStr::new("/no/such/program"), &[]).unwrap_err();
        assert!(matches!(missing, Error::Io { action: "run", .. }));
    }

    #[test]
    fn a_command_that_is_abandoned_is_stopped() {
        let stream = shell("exec sleep 600");
        let id = stream.completion.command.as_ref().unwrap().1.id();
        drop(stream);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }
}
