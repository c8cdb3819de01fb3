//! As much of HTTP/1.1 as one GET needs over a stream that is there already: a forwarded port.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// No line of a head is longer.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// No head has more lines.
const HEAD_LINES_MAX: usize = 100;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunks,
    UntilClose,
}

/// The answer to a request: its body is yet to be read.
pub struct Answer<S> {
    pub status: u16,
    framing: Framing,
    reader: BufReader<S>,
}

/// Asks for a path, with a token.
pub async fn get<S>(mut stream: S, path: &str, token: &str) -> Result<Answer<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain(path) || !plain(token) {
        bail!("The controller's answer has a path or token that cannot be sent");
    }
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: ararat\r\nAuthorization: Bearer {token}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let first = line(&mut reader).await?;
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|code| code.parse().ok());
    let status: u16 = status.context("The controller's answer is no HTTP")?;
    let mut framing = Framing::UntilClose;
    for _ in 0..HEAD_LINES_MAX {
        let header = line(&mut reader).await?;
        if header.is_empty() {
            return Ok(Answer {
                status,
                framing,
                reader,
            });
        }
        let Some((name, value)) = header.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            framing = Framing::Chunks;
        } else if name.eq_ignore_ascii_case("content-length") && framing != Framing::Chunks {
            framing = Framing::Length(
                value
                    .parse()
                    .context("The controller's answer has a length that is no number")?,
            );
        }
    }
    bail!("The head of the controller's answer does not end")
}

impl<S: AsyncRead + Unpin> Answer<S> {
    /// Gives the body to `sink`, piece by piece. A body that is cut short is an error.
    pub async fn body(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        match self.framing {
            Framing::Length(length) => self.stretch(length, sink).await,
            Framing::UntilClose => loop {
                let piece = self.reader.fill_buf().await?;
                if piece.is_empty() {
                    return Ok(());
                }
                let length = piece.len();
                sink(piece)?;
                self.reader.consume(length);
            },
            Framing::Chunks => loop {
                let size = line(&mut self.reader).await?;
                let size = size.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16)
                    .context("The controller's answer is cut into pieces that make no sense")?;
                if size == 0 {
                    // Whatever headers follow say nothing that is needed here.
                    while !line(&mut self.reader).await?.is_empty() {}
                    return Ok(());
                }
                self.stretch(size, sink).await?;
                line(&mut self.reader).await?;
            },
        }
    }

    /// The body as text, for an error.
    pub async fn text(&mut self) -> String {
        let mut bytes = Vec::new();
        // What is cut short says something all the same.
        let _ = self
            .body(&mut |piece| {
                bytes.extend_from_slice(&piece[..piece.len().min(1000_usize.saturating_sub(bytes.len()))]);
                Ok(())
            })
            .await;
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }

    async fn stretch(&mut self, mut length: u64, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while length > 0 {
            let piece = self.reader.fill_buf().await?;
            if piece.is_empty() {
                bail!("The connection to the controller ended before everything was there");
            }
            let some = piece.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            sink(&piece[..some])?;
            self.reader.consume(some);
            length -= some as u64;
        }
        Ok(())
    }
}

async fn line<S: AsyncRead + Unpin>(reader: &mut BufReader<S>) -> Result<String> {
    let mut line = Vec::new();
    reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        bail!("The connection to the controller ended before everything was there");
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// What a server that answers with these bytes and hangs up is understood to say.
    async fn heard(answer: &str) -> Result<(u16, String)> {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let answer = answer.to_owned();
        let server = tokio::spawn(async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(theirs.read_u8().await.unwrap());
            }
            // Whoever has heard enough hangs up.
            let _ = theirs.write_all(answer.as_bytes()).await;
            String::from_utf8(request).unwrap()
        });
        let asked = async {
            let mut answer = get(ours, "/download/x", "token").await?;
            let mut body = Vec::new();
            answer
                .body(&mut |piece| {
                    body.extend_from_slice(piece);
                    Ok(())
                })
                .await?;
            Ok((answer.status, String::from_utf8(body).unwrap()))
        };
        let told = asked.await;
        assert!(server.await.unwrap().contains("\r\nAuthorization: Bearer token\r\n"));
        told
    }

    #[tokio::test]
    async fn bodies_of_each_framing_are_read_whole() {
        let long = "x".repeat(1000);
        assert_eq!(
            heard("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more")
                .await
                .unwrap(),
            (200, "hello".into())
        );
        assert_eq!(heard(&format!("HTTP/1.0 200 OK\r\n\r\n{long}")).await.unwrap().1, long);
        let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";
        assert_eq!(heard(chunks).await.unwrap().1, "hello0123456789");
        assert_eq!(
            heard("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
                .await
                .unwrap(),
            (403, "no".into())
        );
    }

    #[tokio::test]
    async fn bodies_that_are_cut_short_are_errors() {
        for short in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "",
        ] {
            assert!(heard(short).await.is_err(), "{short}");
        }
    }

    #[tokio::test]
    async fn a_path_cannot_add_headers() {
        let (ours, _theirs) = tokio::io::duplex(64);
        assert!(get(ours, "/x HTTP/1.1\r\nHost: y", "token").await.is_err());
    }
}
