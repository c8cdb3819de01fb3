//! HTTP for `object_store`, done our way: one request, one try.
//!
//! What its own client lacks: a timeout for standing still that a slow upload does not trip (reqwest's read timeout covers the time in which the
//! request is being sent), bandwidth limits, a proxy and certificates from what the caller gives rather than from the process's environment, and
//! a refusal that is read once, here, into [`Trouble`]. Requests and bytes are counted here because nobody else sees all of them.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Uri};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};

use super::answer;
use super::body::{Incoming, Movement, Outgoing};
use super::proxy::Proxies;
use super::trouble::{Broken, Trouble, plain};
use crate::store::limit::Limit;
use crate::store::options::StoreOptions;
use crate::store::requests::Counters;

/// How long to look for a metadata server: it is near or not there.
const METADATA_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes the clients of one store; they share connections, limits and counts.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    traffic: Arc<Traffic>,
}

/// What all requests of a store share.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) counters: Arc<Counters>,
    pub(super) upload: Option<Limit>,
    pub(super) download: Option<Limit>,
    pub(super) stall_timeout: Duration,
    connect_timeout: Duration,
    certificates: Vec<reqwest::Certificate>,
    proxies: Proxies,
    client: OnceLock<reqwest::Client>,
    has_metadata: AtomicBool,
}

impl Connector {
    /// # Errors
    /// A sentence for people, when the certificates or the proxy make no sense.
    pub(super) fn new(options: &StoreOptions, counters: Arc<Counters>) -> Result<Self, String> {
        let mut certificates = Vec::new();
        let from_environment = options.variable("AWS_CA_BUNDLE").map(std::path::PathBuf::from);
        if let Some(path) = options.ca_file.as_ref().or(from_environment.as_ref()) {
            let pem = std::fs::read(path)
                .map_err(|error| format!("Could not read certificates from {}: {error}", path.display()))?;
            certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| format!("{} holds no certificates in PEM form", path.display()))?;
        }
        // Equal to the metadata's it would be taken for it.
        let connect_timeout = options
            .connect_timeout
            .max(METADATA_CONNECT_TIMEOUT + Duration::from_millis(1));
        let traffic = Traffic {
            counters,
            upload: options.upload_bytes_per_second.map(Limit::new),
            download: options.download_bytes_per_second.map(Limit::new),
            stall_timeout: options.stall_timeout,
            connect_timeout,
            certificates,
            proxies: Proxies::new(options)?,
            client: OnceLock::new(),
            has_metadata: AtomicBool::new(false),
        };
        Ok(Self {
            traffic: Arc::new(traffic),
        })
    }

    /// The client options that a builder is to have: those that `connect` finds again.
    pub(super) fn client_options(&self, allow_http: bool) -> ClientOptions {
        ClientOptions::new()
            .with_allow_http(allow_http)
            .with_timeout_disabled()
            .with_connect_timeout(self.traffic.connect_timeout)
    }
}

impl Traffic {
    fn client(&self, is_metadata: bool) -> Result<reqwest::Client, reqwest::Error> {
        if !is_metadata && let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("ararat/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(if is_metadata {
                METADATA_CONNECT_TIMEOUT
            } else {
                self.connect_timeout
            })
            .pool_idle_timeout(Duration::from_secs(30))
            .tls_certs_merge(self.certificates.iter().cloned())
            .no_proxy();
        if !is_metadata {
            for proxy in self.proxies.all() {
                builder = builder.proxy(proxy.clone());
            }
        }
        let client = builder.build()?;
        Ok(if is_metadata {
            client
        } else {
            self.client.get_or_init(|| client).clone()
        })
    }

    fn count(&self, request: &HttpRequest) -> Counted {
        let query = request.uri().query().unwrap_or("");
        let has = |name: &str| {
            query
                .split('&')
                .any(|pair| pair == name || pair.starts_with(&format!("{name}=")))
        };
        let method = request.method();
        if *method == Method::GET && (has("list-type") || has("comp")) {
            self.counters.list();
        } else if *method == Method::GET {
            self.counters.get();
            return Counted::Object;
        } else if *method == Method::PUT {
            self.counters.put();
            self.counters.up(request.body().content_length() as u64);
        } else if *method == Method::DELETE || (*method == Method::POST && (has("delete") || has("comp"))) {
            self.counters.delete();
        }
        Counted::Other
    }
}

/// What a request was counted as: bytes of objects count, those of lists do not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Object,
    Other,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let key = ClientConfigKey::ConnectTimeout;
        let is_metadata = options.get_config_value(&key) != self.client_options(false).get_config_value(&key);
        let client = self
            .traffic
            .client(is_metadata)
            .map_err(|error| object_store::Error::Generic {
                store: "HTTP",
                source: Box::new(error.without_url()),
            })?;
        let allow_http = options
            .get_config_value(&ClientConfigKey::AllowHttp)
            .is_some_and(|value| value == "true");
        Ok(HttpClient::new(Service {
            client,
            traffic: self.traffic.clone(),
            is_metadata,
            allow_http,
        }))
    }
}

/// Sends requests of one kind.
#[derive(Debug)]
struct Service {
    client: reqwest::Client,
    traffic: Arc<Traffic>,
    is_metadata: bool,
    allow_http: bool,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match self.send(request).await {
            Ok(response) => Ok(response),
            Err(trouble) => Err(self.error(trouble)),
        }
    }
}

impl Service {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Trouble> {
        let host = host_of(request.uri());
        if !self.allow_http && request.uri().scheme_str() != Some("https") {
            let why = "it is not https, and http is not allowed".to_owned();
            return Err(Trouble::Broken {
                host,
                how: Broken::NotTrusted,
                why,
            });
        }
        let counted = if self.is_metadata {
            Counted::Other
        } else {
            self.traffic.count(&request)
        };
        let (parts, body) = request.into_parts();
        let Ok(url) = parts.uri.to_string().parse() else {
            return Err(Trouble::Broken {
                host,
                how: Broken::NotConnected,
                why: "its address is not a URL".to_owned(),
            });
        };
        let sent_at = answer::date_of_request(&parts.headers);
        let mut ready = reqwest::Request::new(parts.method, url);
        *ready.headers_mut() = parts.headers;
        let movement = Arc::new(Movement::new());
        *ready.body_mut() = Some(reqwest::Body::wrap(Outgoing::new(
            body,
            self.traffic.clone(),
            movement.clone(),
        )));

        let response = tokio::select! {
            response = self.client.execute(ready) => response.map_err(|error| broken(&host, &error))?,
            () = movement.stalled(self.traffic.stall_timeout) => return Err(stalled(&host, self.traffic.stall_timeout)),
        };
        let status = response.status();
        let response: http::Response<reqwest::Body> = response.into();
        let (parts, body) = response.into_parts();
        let counts_bytes = counted == Counted::Object && status.is_success();
        let incoming = Incoming::new(body, self.traffic.clone(), host, counts_bytes);
        // `object_store` has a way of its own with a metadata server that knows only the old protocol.
        if status.is_success() || (self.is_metadata && status == http::StatusCode::FORBIDDEN) {
            self.traffic.has_metadata.fetch_or(self.is_metadata, Ordering::Relaxed);
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(incoming)));
        }
        let text = read_start(HttpResponseBody::new(incoming)).await;
        Err(Trouble::Refused(answer::refusal(&parts, &text, sent_at)))
    }

    fn error(&self, trouble: Trouble) -> HttpError {
        let trouble = if self.is_metadata {
            let passing = self.traffic.has_metadata.load(Ordering::Relaxed);
            Trouble::NoCredentials {
                why: trouble.to_string(),
                passing,
            }
        } else {
            trouble
        };
        // Of no kind that `object_store` would try again: that is the store's business.
        HttpError::new(HttpErrorKind::Unknown, trouble)
    }
}

/// The beginning of an answer, as far as it comes: it is only there to explain a refusal.
async fn read_start(body: HttpResponseBody) -> Bytes {
    use futures::StreamExt;
    const LENGTH_MAX: usize = 64 << 10;
    let mut start = Vec::new();
    let mut pieces = body.bytes_stream();
    while let Some(Ok(piece)) = pieces.next().await {
        start.extend_from_slice(&piece);
        if start.len() > LENGTH_MAX {
            break;
        }
    }
    start.into()
}

pub(super) fn stalled(host: &str, after: Duration) -> Trouble {
    Trouble::Broken {
        host: host.to_owned(),
        how: Broken::Stalled,
        why: format!("nothing has moved for {} s", after.as_secs_f32()),
    }
}

pub(super) fn broken(host: &str, error: &reqwest::Error) -> Trouble {
    let mut deepest: &dyn StdError = error;
    let mut is_tls = false;
    while let Some(source) = deepest.source() {
        deepest = source;
        is_tls |= looks_like_tls(&deepest.to_string());
    }
    let how = match () {
        () if is_tls => Broken::NotTrusted,
        () if error.is_connect() && error.is_timeout() => Broken::NotConnected,
        () if error.is_connect() => Broken::NotConnected,
        () if error.is_timeout() => Broken::Stalled,
        () => Broken::Cut,
    };
    Trouble::Broken {
        host: host.to_owned(),
        how,
        why: plain(&deepest.to_string()),
    }
}

/// Errors of rustls come as text by the time they get here.
fn looks_like_tls(text: &str) -> bool {
    [
        "invalid peer certificate",
        "certificate",
        "UnknownIssuer",
        "received corrupt message",
        "HandshakeFailure",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}

fn host_of(uri: &Uri) -> String {
    let host = uri.host().unwrap_or("the store");
    uri.port_u16()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
