//! As much of an API server as the agent meets: lists, watches that expire, merge patches that notice conflicts, and a switch that turns it off.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The server; it ends with the runtime.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    pub client: Client,
}

struct Shared {
    state: Mutex<Objects>,
    changes: watch::Sender<u64>,
    is_down: AtomicBool,
}

#[derive(Default)]
struct Objects {
    version: u64,
    /// By plural and name.
    objects: BTreeMap<(String, String), Value>,
    /// Version, kind of change, plural, object.
    log: Vec<(u64, &'static str, String, Value)>,
    /// What was before is not known to watches any longer.
    forgotten: u64,
    events: Vec<Value>,
}

impl Server {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changes: watch::channel(0).0,
            is_down: AtomicBool::new(false),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
        Self { shared, client }
    }

    /// Turned off, it fails every request and cuts every watch.
    pub fn turn(&self, off: bool) {
        self.shared.is_down.store(off, Ordering::SeqCst);
        self.shared.changes.send_modify(|_| {});
    }

    /// Watches that begin with what was seen before now are told that this is too old.
    pub fn forget(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.version += 1;
        state.forgotten = state.version;
    }

    pub fn put(&self, plural: &str, object: &impl serde::Serialize) {
        let object = serde_json::to_value(object).unwrap();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.shared.change("ADDED", plural, &name, |_| Some(object));
    }

    pub fn delete(&self, plural: &str, name: &str) {
        self.shared.change("DELETED", plural, name, |_| None);
    }

    pub fn merge(&self, plural: &str, name: &str, patch: &Value) {
        self.shared.change("MODIFIED", plural, name, |before| {
            let mut object = before.unwrap();
            merge(&mut object, patch);
            Some(object)
        });
    }

    pub fn get(&self, plural: &str, name: &str) -> Value {
        let state = self.shared.state.lock().unwrap();
        let object = state.objects.get(&(plural.to_owned(), name.to_owned()));
        object.cloned().unwrap_or(Value::Null)
    }

    pub fn names(&self, plural: &str) -> Vec<String> {
        let state = self.shared.state.lock().unwrap();
        let keys = state.objects.keys().filter(|(of, _)| of == plural);
        keys.map(|(_, name)| name.clone()).collect()
    }

    /// The reasons of the events, in order.
    pub fn reasons(&self) -> Vec<String> {
        let state = self.shared.state.lock().unwrap();
        state
            .events
            .iter()
            .map(|event| event["reason"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until an object is as wanted.
    pub async fn until(&self, plural: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..1500 {
            let object = self.get(plural, name);
            if wanted(&object) {
                return object;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        unreachable!("{name} does not become what is wanted: {}", self.get(plural, name));
    }
}

impl Shared {
    fn change(
        &self,
        kind: &'static str,
        plural: &str,
        name: &str,
        change: impl FnOnce(Option<Value>) -> Option<Value>,
    ) {
        let mut state = self.state.lock().unwrap();
        let key = (plural.to_owned(), name.to_owned());
        let before = state.objects.remove(&key);
        state.version += 1;
        let version = state.version;
        let after = change(before.clone());
        let mut shown = after.clone().or(before).unwrap();
        shown["metadata"]["resourceVersion"] = version.to_string().into();
        if after.is_some() {
            state.objects.insert(key, shown.clone());
        }
        state.log.push((version, kind, plural.to_owned(), shown));
        drop(state);
        self.changes.send_replace(version);
    }

    /// The next line of a watch, or none when it is cut.
    async fn line(&self, plural: &str, since: u64) -> Option<(String, u64)> {
        let mut changes = self.changes.subscribe();
        loop {
            if self.is_down.load(Ordering::SeqCst) {
                return None;
            }
            let found = {
                let state = self.state.lock().unwrap();
                if since < state.forgotten {
                    let status = failure(StatusCode::GONE, "Expired");
                    return Some((line("ERROR", &status), u64::MAX));
                }
                let next = state
                    .log
                    .iter()
                    .find(|(version, _, of, _)| *version > since && of == plural);
                next.map(|(version, kind, _, object)| (line(kind, object), *version))
            };
            if found.is_some() {
                return found;
            }
            changes.changed().await.ok()?;
        }
    }
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if shared.is_down.load(Ordering::SeqCst) {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "Down");
    }
    let path: Vec<&str> = parts.uri.path().split('/').skip(6).collect();
    let query = parts.uri.query().unwrap_or_default();
    let body: Value = serde_json::from_slice(&to_bytes(body, 1 << 20).await.unwrap()).unwrap_or_default();
    match (&parts.method, path.as_slice()) {
        (&Method::POST, ["events"]) => {
            shared.state.lock().unwrap().events.push(body.clone());
            document(StatusCode::CREATED, &body)
        }
        (&Method::GET, [plural]) => {
            assert!(query.contains("fieldSelector=spec.node%3Dnode"), "{query}");
            match query.contains("watch=true") {
                true => watching(&shared, plural, query),
                false => list(&shared, plural),
            }
        }
        (&Method::GET, [plural, name]) => get(&shared, plural, name),
        (&Method::PATCH, [plural, name, "status"]) => patch(&shared, plural, name, &body),
        _ => refuse(StatusCode::FORBIDDEN, "Forbidden"),
    }
}

fn watching(shared: &Arc<Shared>, plural: &str, query: &str) -> Response {
    let since = query
        .split('&')
        .find_map(|part| part.strip_prefix("resourceVersion="))
        .unwrap();
    let start = (Arc::clone(shared), plural.to_owned(), since.parse::<u64>().unwrap());
    let lines = stream::unfold(start, |(shared, plural, since)| async move {
        let (line, version) = shared.line(&plural, since).await?;
        Some((Ok::<_, Infallible>(line), (shared, plural, version)))
    });
    Body::from_stream(lines).into_response()
}

fn list(shared: &Shared, plural: &str) -> Response {
    let state = shared.state.lock().unwrap();
    let items: Vec<&Value> = state
        .objects
        .iter()
        .filter(|((of, _), _)| of == plural)
        .map(|(_, object)| object)
        .collect();
    let list = json!({
        "apiVersion": "ararat.dev/v1alpha1",
        "kind": "List",
        "metadata": { "resourceVersion": state.version.to_string() },
        "items": items,
    });
    document(StatusCode::OK, &list)
}

fn get(shared: &Shared, plural: &str, name: &str) -> Response {
    let state = shared.state.lock().unwrap();
    match state.objects.get(&(plural.to_owned(), name.to_owned())) {
        Some(object) => document(StatusCode::OK, object),
        None => refuse(StatusCode::NOT_FOUND, "NotFound"),
    }
}

fn patch(shared: &Shared, plural: &str, name: &str, patch: &Value) -> Response {
    let key = (plural.to_owned(), name.to_owned());
    let Some(before) = shared.state.lock().unwrap().objects.get(&key).cloned() else {
        return refuse(StatusCode::NOT_FOUND, "NotFound");
    };
    let version = &patch["metadata"]["resourceVersion"];
    if !version.is_null() && *version != before["metadata"]["resourceVersion"] {
        return refuse(StatusCode::CONFLICT, "Conflict");
    }
    shared.change("MODIFIED", plural, name, |object| {
        let mut object = object.unwrap();
        merge(&mut object, &json!({ "status": patch["status"] }));
        Some(object)
    });
    get(shared, plural, name)
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (field, value) in fields {
        if value.is_null() {
            drop(object.as_object_mut().unwrap().remove(field));
        } else {
            merge(&mut object[field], value);
        }
    }
}

fn failure(code: StatusCode, reason: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": code.as_u16() })
}

fn refuse(code: StatusCode, reason: &str) -> Response {
    document(code, &failure(code, reason))
}

fn document(code: StatusCode, value: &Value) -> Response {
    (code, [("content-type", "application/json")], value.to_string()).into_response()
}
