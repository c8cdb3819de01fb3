//! HTTP/1.1 messages as the fault proxy passes them on: the head's bytes and the body's bytes, untouched.
//!
//! A body's end is found by `Content-Length`, by chunks (kept raw, so passing on changes nothing), or, for replies with
//! neither, by the connection's end.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The most that a head may have, in bytes.
const HEAD_MAX: usize = 256 * 1024;

pub struct Message {
    /// First line and headers, with the empty line.
    pub head: Vec<u8>,
    /// As on the wire: chunked stays chunked.
    pub body: Vec<u8>,
    /// The connection ends after this message.
    pub closes: bool,
}

impl Message {
    /// The next request, or `None` when the client has closed the connection between two.
    pub async fn read_request(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Message>> {
        let Some(mut message) = Message::read_head(from).await? else {
            return Ok(None);
        };
        message.read_framed_body(from).await?;
        Ok(Some(message))
    }

    /// The final reply to a request of this method.
    pub async fn read_reply(from: &mut (impl AsyncBufRead + Unpin), method: &str) -> Result<Message> {
        loop {
            let mut message = Message::read_head(from).await?.ok_or(ErrorKind::UnexpectedEof)?;
            let status: u16 = message
                .word(1)
                .parse()
                .map_err(|_| Error::from(ErrorKind::InvalidData))?;
            if (100..200).contains(&status) {
                continue;
            }
            let empty = method == "HEAD" || status == 204 || status == 304;
            if !empty && !message.read_framed_body(from).await? {
                from.read_to_end(&mut message.body).await?;
                message.closes = true;
            }
            return Ok(message);
        }
    }

    /// A word of the first line: method and target of a request, status of a reply (1).
    pub fn word(&self, index: usize) -> &str {
        let line = self.head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        std::str::from_utf8(line)
            .unwrap_or("")
            .split(' ')
            .nth(index)
            .unwrap_or("")
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.head);
        let mut lines = text.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_string())
    }

    /// Puts a header in the place of one of the same name, or adds it.
    pub fn set_header(&mut self, name: &str, value: &str) {
        self.drop_header(name);
        self.head.truncate(self.head.len() - 2);
        self.head
            .extend_from_slice(format!("{name}: {value}\r\n\r\n").as_bytes());
    }

    pub fn drop_header(&mut self, name: &str) {
        let text = String::from_utf8_lossy(&self.head).into_owned();
        let same = |line: &&str| {
            line.split_once(':')
                .is_some_and(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        let lines: Vec<&str> = text.trim_end().lines().filter(|line| !same(line)).collect();
        self.head = (lines.join("\r\n") + "\r\n\r\n").into_bytes();
    }

    async fn read_head(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Message>> {
        let mut head = Vec::new();
        loop {
            let before = head.len();
            if from.read_until(b'\n', &mut head).await? == 0 {
                return if head.is_empty() {
                    Ok(None)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
            if head.len() > HEAD_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            if &head[before..] == b"\r\n" {
                break;
            }
        }
        let mut message = Message {
            head,
            body: Vec::new(),
            closes: false,
        };
        message.closes = message
            .header("Connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Some(message))
    }

    /// Reads the body if the head says where it ends; says whether it does.
    async fn read_framed_body(&mut self, from: &mut (impl AsyncBufRead + Unpin)) -> Result<bool> {
        if self
            .header("Transfer-Encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
        {
            self.read_chunks(from).await?;
            return Ok(true);
        }
        let Some(length) = self.header("Content-Length") else {
            return Ok(false);
        };
        let length: usize = length.parse().map_err(|_| Error::from(ErrorKind::InvalidData))?;
        self.body.resize(length, 0);
        from.read_exact(&mut self.body).await?;
        Ok(true)
    }

    async fn read_chunks(&mut self, from: &mut (impl AsyncBufRead + Unpin)) -> Result<()> {
        loop {
            let mut line = Vec::new();
            from.read_until(b'\n', &mut line).await?;
            let size = std::str::from_utf8(&line)
                .ok()
                .and_then(|line| line.trim().split(';').next());
            let size = size
                .and_then(|size| usize::from_str_radix(size, 16).ok())
                .ok_or(ErrorKind::InvalidData)?;
            self.body.extend_from_slice(&line);
            if size == 0 {
                break;
            }
            let start = self.body.len();
            self.body.resize(start + size + 2, 0);
            from.read_exact(&mut self.body[start..]).await?;
        }
        // Trailers, up to the empty line.
        loop {
            let before = self.body.len();
            from.read_until(b'\n', &mut self.body).await?;
            if matches!(&self.body[before..], b"\r\n" | b"\n" | b"") {
                return Ok(());
            }
        }
    }
}
