//! A client that is patient with an API server that has just started: until it has read its roles it refuses everybody (403), and nothing in the answer tells that
//! from a refusal that is meant. So a refusal soon after the server did not answer is asked for again for a while; all others are given on at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use http::{Request, Response, StatusCode};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tokio::time::{Instant, Sleep, sleep};
use tower::buffer::BufferLayer;
use tower::retry::{Policy, RetryLayer};

/// So long after it did not answer, a server may still be starting.
const STARTING: Duration = Duration::from_secs(30);
/// How often one request is asked for again, and the pause before each time.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);
/// Requests that may wait for their turn.
const WAITING: usize = 1024;

/// Makes a client.
///
/// # Errors
/// When the configuration cannot be used.
pub fn client(config: Config) -> Result<Client> {
    let patience = Patience::new();
    let builder = ClientBuilder::try_from(config)?
        .with_layer(&BufferLayer::new(WAITING))
        .with_layer(&RetryLayer::new(patience));
    Ok(builder.build())
}

/// What is known of the server, of one request.
#[derive(Clone)]
struct Patience {
    /// When it last did not answer, to whomever. A client that begins knows nothing.
    silent: Arc<Mutex<Instant>>,
    tries: u32,
}

impl Patience {
    fn new() -> Self {
        Self {
            silent: Arc::new(Mutex::new(Instant::now())),
            tries: 0,
        }
    }

    fn judge(&mut self, status: Option<StatusCode>, now: Instant) -> bool {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        match status {
            None => {
                *silent = now;
                false
            }
            Some(StatusCode::FORBIDDEN) if self.tries < TRIES && now.duration_since(*silent) < STARTING => {
                self.tries += 1;
                true
            }
            Some(_) => false,
        }
    }
}

impl<B, E> Policy<Request<Body>, Response<B>, E> for Patience {
    type Future = Sleep;

    fn retry(&mut self, _: &mut Request<Body>, result: &mut Result<Response<B>, E>) -> Option<Sleep> {
        let status = result.as_ref().ok().map(Response::status);
        self.judge(status, Instant::now()).then(|| sleep(PAUSE))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        let mut copy = Request::new(request.body().try_clone()?);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_asked_for_again_only_soon_after_the_server_was_away() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let forbidden = Some(StatusCode::FORBIDDEN);
        let mut patience = Patience::new();
        assert!(patience.judge(forbidden, after(1)));
        assert!(!patience.judge(forbidden, after(60)), "it is meant");
        assert!(!patience.judge(None, after(70)));
        assert!(patience.judge(forbidden, after(75)));
        assert!(!patience.judge(Some(StatusCode::NOT_FOUND), after(76)));
        while patience.judge(forbidden, after(76)) {}
        assert_eq!(patience.tries, TRIES);
        assert!(
            !patience.judge(forbidden, after(76)),
            "one request does not wait for ever"
        );
    }
}
