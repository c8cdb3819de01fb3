//! Programs run as a person runs them, with what they printed and how they ended. None may hang: each has a time.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a run printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// What was run, as it would be typed.
    pub line: String,
    /// The exit code; 128 and the signal for one that was killed.
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// The run must have ended with this code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "`{}`\n{}\n{}", self.line, self.out, self.err);
        self
    }

    /// The run must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ends(0)
    }

    /// The run must have failed, in whatever way.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert_ne!(self.code, 0, "`{}` succeeded\n{}\n{}", self.line, self.out, self.err);
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("`{}`: {error}\n{}\n{}", self.line, self.out, self.err))
    }

    /// Both outputs together must hold each of these.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        let text = format!("{}\n{}", self.out, self.err);
        for part in parts {
            assert!(text.contains(part), "`{}` does not say `{part}`:\n{text}", self.line);
        }
        self
    }

    /// Neither output may hold any of these.
    #[track_caller]
    pub fn hides(self, parts: &[&str]) -> Self {
        let text = format!("{}\n{}", self.out, self.err);
        for part in parts {
            assert!(!text.contains(part), "`{}` says `{part}`:\n{text}", self.line);
        }
        self
    }
}

/// Runs it to its end with this input. After `most` it is killed, and the test with it.
#[track_caller]
pub fn run(mut command: Command, input: &str, most: Duration) -> Ran {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .collect();
    let line = words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("`{line}`: {error}"));
    let (mut to, input) = (child.stdin.take().unwrap(), input.to_owned());
    // A program that does not read its input closes it, which is no failure of ours.
    let writes = std::thread::spawn(move || to.write_all(input.as_bytes()).ok());
    let out = read(child.stdout.take().unwrap());
    let err = read(child.stderr.take().unwrap());
    let deadline = Instant::now() + most;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill().ok();
            child.wait().ok();
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    writes.join().unwrap();
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    let Some(status) = status else {
        panic!("`{line}` has not ended after {} s\n{out}\n{err}", most.as_secs());
    };
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let code = status.code().unwrap_or_else(|| 128 + signal.unwrap_or_default());
    Ran { line, code, out, err }
}

fn read(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The words of a line, as a shell takes it apart: blanks, and single quotes around what holds blanks.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            blank if blank.is_whitespace() && !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    assert!(!quoted, "an open quote in: {line}");
    words.extend(word);
    words
}

#[test]
fn words_are_taken_apart_as_in_a_shell() {
    assert_eq!(words(" get  'a b'c '' x\n"), ["get", "a bc", "", "x"]);
}
