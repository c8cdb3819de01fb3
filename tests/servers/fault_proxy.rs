//! Faults of HTTP between a client and a server: a plain HTTP/1.1 pass-through that breaks chosen requests and counts all.
//!
//! ```ignore
//! let proxy = FaultProxy::start(server.address());
//! proxy.inject(Rule::always(Fault::slow_down()).method("PUT").times(2));
//! let location = server.location_through(proxy.address(), "prefix");
//! …
//! assert_eq!(proxy.count("PUT"), 3);
//! ```
//!
//! Heads and bodies pass as they are, so signatures stay good (the client signs the proxy's address as its host). Each
//! message is read whole before it is passed on: a request that is cut by the proxy has reached the server whole or not
//! at all, and tests know which. Rules are asked in the order they came; the first that fits decides. Faults below HTTP
//! (latency, resets, silence) are [`super::toxiproxy`]'s.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::http_message::Message;

/// What goes wrong with one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The proxy answers; the server never hears of it.
    Refuse(Answer),
    /// The server does the work, but the client gets this answer instead.
    RefuseAfterWork(Answer),
    /// The connection closes; the server never hears of it.
    Hangup,
    /// The server does the work, then the connection closes without a reply.
    HangupAfterWork,
    /// The reply comes late.
    Delay(Duration),
    /// The reply's body comes in pieces of so many bytes with a pause before each.
    SlowBody { piece_bytes: usize, pause: Duration },
    /// The reply's body ends early: its length was announced in full, then the connection closes.
    TruncateBody { at_bytes: usize },
    /// The reply's body stops and the connection stays open until the proxy ends.
    StallBody { at_bytes: usize },
    /// One bit of the reply's body is wrong, and nothing says so.
    FlipBit { at_bytes: usize },
    /// The reply's `Date` says this, as from a server whose clock is wrong.
    WrongDate(String),
    /// The server does not get to see this header (lower case), as if it did not know it. Signed headers are missed by servers that check.
    DropHeader(&'static str),
}

/// An answer in a store's manner: the code stands in S3's and Google's XML and in Azure's header.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub code: &'static str,
    /// Seconds, for a `Retry-After` header.
    pub retry_after: Option<u64>,
}

impl Fault {
    /// 429 with a wish to come back after a second.
    pub fn too_many_requests() -> Fault {
        Fault::Refuse(Answer {
            status: 429,
            code: "TooManyRequests",
            retry_after: Some(1),
        })
    }

    /// 503 in S3's manner.
    pub fn slow_down() -> Fault {
        Fault::Refuse(Answer {
            status: 503,
            code: "SlowDown",
            retry_after: None,
        })
    }

    pub fn internal_error() -> Fault {
        Fault::Refuse(Answer {
            status: 500,
            code: "InternalError",
            retry_after: None,
        })
    }

    /// The work is done, the answer says it failed.
    pub fn internal_error_after_work() -> Fault {
        Fault::RefuseAfterWork(Answer {
            status: 500,
            code: "InternalError",
            retry_after: None,
        })
    }

    /// What S3 answers when the client's clock is off by more than 15 minutes.
    pub fn clock_skewed() -> Fault {
        Fault::Refuse(Answer {
            status: 403,
            code: "RequestTimeTooSkewed",
            retry_after: None,
        })
    }

    pub fn access_denied() -> Fault {
        Fault::Refuse(Answer {
            status: 403,
            code: "AccessDenied",
            retry_after: None,
        })
    }

    pub fn expired_token() -> Fault {
        Fault::Refuse(Answer {
            status: 400,
            code: "ExpiredToken",
            retry_after: None,
        })
    }
}

/// Which requests get a fault.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    method: Option<&'static str>,
    target_part: String,
    skipped_left: usize,
    times_left: usize,
}

impl Rule {
    /// Every request; the methods below narrow it.
    pub fn always(fault: Fault) -> Rule {
        Rule {
            fault,
            method: None,
            target_part: String::new(),
            skipped_left: 0,
            times_left: usize::MAX,
        }
    }

    pub fn method(self, method: &'static str) -> Rule {
        Rule {
            method: Some(method),
            ..self
        }
    }

    /// Only targets (path and query) that contain this.
    pub fn target_contains(self, part: &str) -> Rule {
        Rule {
            target_part: part.to_string(),
            ..self
        }
    }

    /// Lets the first requests that fit pass.
    pub fn after(self, requests: usize) -> Rule {
        Rule {
            skipped_left: requests,
            ..self
        }
    }

    /// Ends after so many faults.
    pub fn times(self, faults: usize) -> Rule {
        Rule {
            times_left: faults,
            ..self
        }
    }

    fn decide(&mut self, method: &str, target: &str) -> Option<Fault> {
        let fits = self.method.is_none_or(|wanted| wanted == method) && target.contains(&self.target_part);
        if !fits || self.times_left == 0 {
            return None;
        }
        if self.skipped_left > 0 {
            self.skipped_left -= 1;
            return None;
        }
        self.times_left -= 1;
        Some(self.fault.clone())
    }
}

/// A request that came by.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub body_bytes: usize,
    pub fault: Option<Fault>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
}

/// A running proxy; it ends, with all its connections, when dropped.
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Starts before a server, on a thread of its own, so that tests may be sync or async.
    pub fn start(upstream: SocketAddr) -> FaultProxy {
        let listener = std::net::TcpListener::bind((super::process::host(), 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (end, ended) = oneshot::channel();
        let shared = state.clone();
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, upstream, shared) => {}
                    _ = ended => {}
                }
            });
            // Dropping the runtime drops the connections.
        };
        let thread = std::thread::Builder::new()
            .name("fault proxy".into())
            .spawn(serve)
            .unwrap();
        FaultProxy {
            address,
            state,
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// Where clients shall connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn inject(&self, rule: Rule) {
        self.state.lock().unwrap().rules.push(rule);
    }

    /// Takes all rules back.
    pub fn clear(&self) {
        self.state.lock().unwrap().rules.clear();
    }

    /// Every request since the start or the last [`FaultProxy::forget_seen`], refused ones and retries too.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// How many of them had this method.
    pub fn count(&self, method: &str) -> usize {
        self.state
            .lock()
            .unwrap()
            .seen
            .iter()
            .filter(|seen| seen.method == method)
            .count()
    }

    pub fn forget_seen(&self) {
        self.state.lock().unwrap().seen.clear();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // The receiver is gone when the thread has already ended.
        self.end.take().map(|end| end.send(()).ok());
        self.thread.take().map(|thread| thread.join().ok());
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, state: Arc<Mutex<State>>) {
    loop {
        // A client that is gone before it was accepted is no reason to end.
        if let Ok((client, _)) = listener.accept().await {
            let state = state.clone();
            // Errors are the other side's going away: that is what a proxy's life is like.
            tokio::spawn(async move { connection(client, upstream, &state).await.ok() });
        }
    }
}

async fn connection(client: TcpStream, upstream: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = BufReader::new(client);
    while let Some(mut request) = Message::read_request(&mut client).await? {
        let (method, target) = (request.word(0).to_string(), request.word(1).to_string());
        let fault = {
            let mut state = state.lock().unwrap();
            let fault = state.rules.iter_mut().find_map(|rule| rule.decide(&method, &target));
            let body_bytes = request.body.len();
            state.seen.push(Seen {
                method: method.clone(),
                target,
                body_bytes,
                fault: fault.clone(),
            });
            fault
        };
        let refused = match &fault {
            Some(Fault::Hangup) => return Ok(()),
            Some(Fault::Refuse(answer)) => Some(answer.message(&method)),
            _ => None,
        };
        if let Some(Fault::DropHeader(name)) = &fault {
            request.drop_header(name);
        }
        let reply = match refused {
            Some(reply) => reply,
            None => pass_on(&request, &method, upstream).await?,
        };
        if !deliver(&mut client, reply, fault, &method).await? {
            return Ok(());
        }
    }
    Ok(())
}

async fn pass_on(request: &Message, method: &str, upstream: SocketAddr) -> std::io::Result<Message> {
    let mut server = BufReader::new(TcpStream::connect(upstream).await?);
    server.write_all(&request.head).await?;
    server.write_all(&request.body).await?;
    Message::read_reply(&mut server, method).await
}

/// Hands the reply to the client with its fault; says whether the connection goes on.
async fn deliver(
    client: &mut BufReader<TcpStream>,
    mut reply: Message,
    fault: Option<Fault>,
    method: &str,
) -> std::io::Result<bool> {
    let length = reply.body.len();
    match fault {
        Some(Fault::HangupAfterWork | Fault::Hangup) => return Ok(false),
        Some(Fault::RefuseAfterWork(answer)) => reply = answer.message(method),
        Some(Fault::Delay(pause)) => tokio::time::sleep(pause).await,
        Some(Fault::FlipBit { at_bytes }) => reply.body.get_mut(at_bytes).into_iter().for_each(|byte| *byte ^= 1),
        Some(Fault::WrongDate(date)) => reply.set_header("Date", &date),
        Some(Fault::SlowBody { piece_bytes, pause }) => {
            client.write_all(&reply.head).await?;
            for piece in reply.body.chunks(piece_bytes) {
                tokio::time::sleep(pause).await;
                client.write_all(piece).await?;
            }
            return Ok(!reply.closes);
        }
        Some(Fault::TruncateBody { at_bytes } | Fault::StallBody { at_bytes }) if at_bytes < length => {
            client.write_all(&reply.head).await?;
            client.write_all(&reply.body[..at_bytes]).await?;
            client.flush().await?;
            if matches!(fault, Some(Fault::StallBody { .. })) {
                std::future::pending::<()>().await;
            }
            return Ok(false);
        }
        Some(Fault::Refuse(_) | Fault::DropHeader(_) | Fault::TruncateBody { .. } | Fault::StallBody { .. }) | None => {
        }
    }
    client.write_all(&reply.head).await?;
    client.write_all(&reply.body).await?;
    Ok(!reply.closes)
}

impl Answer {
    fn message(&self, method: &str) -> Message {
        let Answer {
            status,
            code,
            retry_after,
        } = self;
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>A fault proxy's fault</Message></Error>"
        );
        let retry = retry_after.map_or(String::new(), |seconds| format!("Retry-After: {seconds}\r\n"));
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\nx-ms-error-code: {code}\r\n{retry}Content-Length: {length}\r\n\r\n"
        );
        let body = if method == "HEAD" {
            Vec::new()
        } else {
            body.into_bytes()
        };
        Message {
            head: head.into_bytes(),
            body,
            closes: false,
        }
    }
}
