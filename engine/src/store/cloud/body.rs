//! Bodies on their way: cut into pieces that bandwidth limits can hold back, watched for standing still, counted.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpRequestBody};
use tokio::time::{Instant, Sleep};

use super::transport::{Traffic, broken, stalled};

/// The size of what a limit holds back at once, and of what counts as movement.
const PIECE_BYTES: usize = 64 << 10;

/// When something last moved.
#[derive(Debug)]
pub(super) struct Movement {
    begun: Instant,
    last_millis: AtomicU64,
}

impl Movement {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            last_millis: AtomicU64::new(0),
        }
    }

    /// Something moves, or will after a pause of our own.
    fn moves_after(&self, pause: Duration) {
        self.last_millis
            .store(millis(self.begun.elapsed() + pause), Ordering::Relaxed);
    }

    /// Returns when nothing has moved for so long.
    pub(super) async fn stalled(&self, timeout: Duration) {
        loop {
            let last = self.last_millis.load(Ordering::Relaxed);
            tokio::time::sleep_until(self.begun + Duration::from_millis(last) + timeout).await;
            if self.last_millis.load(Ordering::Relaxed) == last {
                return;
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A pause that a limit asks for.
type Pause = Option<Pin<Box<Sleep>>>;

fn pause(duration: Duration) -> Pause {
    (!duration.is_zero()).then(|| Box::pin(tokio::time::sleep(duration)))
}

fn poll_pause(pause: &mut Pause, context: &mut Context<'_>) -> Poll<()> {
    if let Some(sleep) = pause {
        ready!(sleep.as_mut().poll(context));
        *pause = None;
    }
    Poll::Ready(())
}

/// A request's body.
pub(super) struct Outgoing {
    inner: HttpRequestBody,
    /// What is left of the piece of `inner` that is being sent.
    rest: Bytes,
    remaining: u64,
    traffic: Arc<Traffic>,
    movement: Arc<Movement>,
    pause: Pause,
}

impl Outgoing {
    pub(super) fn new(inner: HttpRequestBody, traffic: Arc<Traffic>, movement: Arc<Movement>) -> Self {
        let remaining = inner.content_length() as u64;
        Self {
            inner,
            rest: Bytes::new(),
            remaining,
            traffic,
            movement,
            pause: None,
        }
    }
}

impl Outgoing {
    /// How long the last pieces may still be under way in the network's buffers: at most about as long as all before them took.
    fn time_to_drain(&self) -> Duration {
        self.movement.begun.elapsed().min(self.traffic.stall_timeout * 2)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if this.remaining == 0 {
            return Poll::Ready(None);
        }
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => this.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        if this.pause.is_none()
            && let Some(limit) = &this.traffic.upload
        {
            let wait = limit.take(this.rest.len().min(PIECE_BYTES) as u64);
            this.movement.moves_after(wait);
            this.pause = pause(wait);
        }
        ready!(poll_pause(&mut this.pause, context));
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        this.remaining = this.remaining.saturating_sub(piece.len() as u64);
        this.movement.moves_after(if this.remaining > 0 {
            Duration::ZERO
        } else {
            this.time_to_drain()
        });
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// A reply's body.
pub(super) struct Incoming {
    inner: reqwest::Body,
    traffic: Arc<Traffic>,
    host: String,
    counts_bytes: bool,
    patience: Pin<Box<Sleep>>,
    pause: Pause,
    held: Option<Frame<Bytes>>,
}

impl Incoming {
    pub(super) fn new(inner: reqwest::Body, traffic: Arc<Traffic>, host: String, counts_bytes: bool) -> Self {
        let patience = Box::pin(tokio::time::sleep(traffic.stall_timeout));
        Self {
            inner,
            traffic,
            host,
            counts_bytes,
            patience,
            pause: None,
            held: None,
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if this.held.is_none() {
            let frame = match Pin::new(&mut this.inner).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    let error = HttpError::new(HttpErrorKind::Unknown, broken(&this.host, &error));
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    ready!(this.patience.as_mut().poll(context));
                    let error = HttpError::new(HttpErrorKind::Unknown, stalled(&this.host, this.traffic.stall_timeout));
                    return Poll::Ready(Some(Err(error)));
                }
            };
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            if this.counts_bytes {
                this.traffic.counters.down(length);
            }
            if let Some(limit) = &this.traffic.download {
                this.pause = pause(limit.take(length));
            }
            this.held = Some(frame);
        }
        ready!(poll_pause(&mut this.pause, context));
        let patience = Instant::now() + this.traffic.stall_timeout;
        this.patience.as_mut().reset(patience);
        Poll::Ready(this.held.take().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
