//! One HTTP/1.1 request on loopback, as small as the servers' own management needs it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The server's status and body. Panics when it does not answer.
pub fn request(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (
        status.unwrap_or_else(|| panic!("{address} answers {method} {target} with: {answer}")),
        body.to_string(),
    )
}

/// The same, and the status must say success.
pub fn expect_success(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> String {
    let (status, answer) = request(address, method, target, headers, body);
    assert!(
        (200..300).contains(&status),
        "{address} answers {method} {target} with {status}: {answer}"
    );
    answer
}
