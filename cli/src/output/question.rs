//! A question before something is destroyed.

use std::io::{BufRead, IsTerminal};

use anyhow::Result;

use crate::failure::{Failure, USAGE};

/// Asks on the terminal; where there is none, whoever starts the command must have said `flag` already.
pub fn ask(question: &str, flag: &str) -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let failure = Failure::new(format!("{question} Nobody can be asked here"));
        return Err(failure
            .hint(format!("Say {flag} to do it without a question."))
            .code(USAGE)
            .into());
    }
    anstream::eprint!("{question} [y/N] ");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
