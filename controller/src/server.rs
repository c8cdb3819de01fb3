//! Answers over HTTP: health, and what DownloadRequests have made ready.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Whether the controller is alive and ready.
#[derive(Clone, Default)]
pub struct Health(Arc<AtomicU8>);

impl Health {
    /// It has reached the API server.
    pub fn alive(&self) {
        self.0.fetch_max(1, Ordering::Relaxed);
    }

    /// It leads, or waits for its turn.
    pub fn ready(&self) {
        self.0.fetch_max(2, Ordering::Relaxed);
    }
}

/// A stream of bytes that is made while it is read; an error ends it.
pub type Output = mpsc::Sender<Result<Bytes, std::io::Error>>;

/// Makes what is downloaded: writes into the output until it is done.
pub type Maker = Arc<dyn Fn(Output) -> BoxFuture<'static, ()> + Send + Sync>;

struct Offer {
    token: String,
    until: Instant,
    maker: Maker,
}

/// What can be downloaded, by the id in its path.
#[derive(Clone, Default)]
pub struct Downloads(Arc<Mutex<HashMap<String, Offer>>>);

impl Downloads {
    /// Offers something for a while; gives its path. Whoever has the token reads it, as often as needed.
    pub fn offer(&self, id: &str, token: String, lives: Duration, maker: Maker) -> String {
        let mut offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offers.retain(|_, offer| offer.until > Instant::now());
        let until = Instant::now() + lives;
        offers.insert(id.to_owned(), Offer { token, until, maker });
        format!("/downloads/{id}")
    }

    /// Whether it is offered.
    pub fn has(&self, id: &str) -> bool {
        let offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offers.get(id).is_some_and(|offer| offer.until > Instant::now())
    }

    /// Offers it no longer.
    pub fn withdraw(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn find(&self, id: &str, token: &str) -> Option<Maker> {
        let offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offer = offers.get(id).filter(|offer| offer.until > Instant::now())?;
        // Digests are compared, so that the time it takes says nothing about the token.
        (blake3::hash(offer.token.as_bytes()) == blake3::hash(token.as_bytes())).then(|| Arc::clone(&offer.maker))
    }
}

/// Listens.
///
/// # Errors
/// When the port is taken.
pub async fn start(port: u16, health: Health) -> Result<Downloads> {
    let downloads = Downloads::default();
    let answer = |health: Health, needed: u8| {
        move || async move {
            if health.0.load(Ordering::Relaxed) >= needed {
                (StatusCode::OK, "ok")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "waiting for the API server")
            }
        }
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(answer(health, 2)))
        .route("/downloads/{id}", get(download))
        .with_state(downloads.clone());
    let listener = tokio::net::TcpListener::bind(("::", port)).await;
    let listener = match listener {
        Ok(listener) => listener,
        // A kernel without IPv6.
        Err(_) => tokio::net::TcpListener::bind(("0.0.0.0", port))
            .await
            .with_context(|| format!("Could not listen on port {port}"))?,
    };
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("The HTTP server ended: {error}");
        }
    });
    Ok(downloads)
}

async fn download(State(downloads): State<Downloads>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    let Some(maker) = downloads.find(&id, token) else {
        return (StatusCode::NOT_FOUND, "there is nothing to download here").into_response();
    };
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(maker(sender));
    let stream = futures::stream::unfold(receiver, |mut receiver| async {
        let part = receiver.recv().await?;
        Some((part, receiver))
    });
    Body::from_stream(stream).into_response()
}
