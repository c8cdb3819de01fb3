//! How the API is told: patches of an object's status, and events about it.
//!
//! What must hold: a word that matters (that a volume is accepted, what became of it) is repeated until it is heard, and is said to the very object that
//! it is about: another one of the same name is never taken for it.

use std::time::Duration;

use api::volume::VolumePhase;
use api::{PodVolumeBackup, PodVolumeRestore};
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter as EventReporter};
use kube::{Api, Client, Error};
use serde_json::{Value, json};

use crate::decide::{Stop, pause};
use crate::status::cut;
use crate::volume::{Kind, Volume};

/// A request that has no answer by then is tried again: the server may be gone without a word.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// The API server refuses longer notes of events.
const NOTE_CHARACTERS_MAX: usize = 1000;

/// Tells the API.
#[derive(Clone)]
pub struct Reporter {
    backups: Api<PodVolumeBackup>,
    restores: Api<PodVolumeRestore>,
    recorder: Recorder,
}

impl Reporter {
    /// For the objects of a namespace, in the name of a node's agent.
    pub fn new(client: &Client, namespace: &str, node: &str) -> Self {
        let reporter = EventReporter {
            controller: "ararat-agent".into(),
            instance: Some(node.to_owned()),
        };
        Self {
            backups: Api::namespaced(client.clone(), namespace),
            restores: Api::namespaced(client.clone(), namespace),
            recorder: Recorder::new(client.clone(), reporter),
        }
    }

    /// The PodVolumeBackups, to be watched.
    pub fn backups(&self) -> Api<PodVolumeBackup> {
        self.backups.clone()
    }

    /// The PodVolumeRestores, to be watched.
    pub fn restores(&self) -> Api<PodVolumeRestore> {
        self.restores.clone()
    }

    /// Says something that does not matter much, once.
    pub async fn say(&self, volume: &Volume, status: &Value) {
        if let Err(error) = self.patch(volume, &json!({ "status": status })).await {
            tracing::debug!(volume = %volume, "Its status was not heard: {error}");
        }
    }

    /// The object as the server has it now, which the watch may not have shown yet.
    pub async fn look(&self, volume: &Volume) -> Option<Volume> {
        let now = self.get(volume).await.ok().flatten();
        now.filter(|now| now.uid() == volume.uid())
    }

    /// Says something until it is heard.
    ///
    /// # Errors
    /// [`Stop::Gone`] when the object is, [`Stop::Settled`] when somebody else has had the last word.
    pub async fn insist(&self, volume: &Volume, status: &Value) -> Result<(), Stop> {
        for attempt in 1_u32.. {
            match self.try_to_say(volume, status).await {
                Ok(()) => return Ok(()),
                Err(Unheard::Stopped(stop)) => return Err(stop),
                // Somebody was faster; what they have written stays.
                Err(Unheard::Conflict) if attempt == 1 => continue,
                Err(Unheard::Conflict) => {}
                Err(Unheard::Failed(why)) => {
                    tracing::warn!(volume = %volume, "The API server has not taken its status ({why}); trying again");
                }
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        Ok(())
    }

    async fn try_to_say(&self, volume: &Volume, status: &Value) -> Result<(), Unheard> {
        let now = match self.get(volume).await {
            Ok(Some(now)) if now.uid() == volume.uid() => now,
            Ok(_) => return Err(Unheard::Stopped(Stop::Gone)),
            Err(error) => return Err(Unheard::Failed(error)),
        };
        if now.phase().is_final() {
            return Err(Unheard::Stopped(Stop::Settled));
        }
        // By its version the server knows that it is still the object that was just looked at.
        let patch = json!({
            "metadata": { "resourceVersion": now.meta().resource_version },
            "status": status,
        });
        self.patch(volume, &patch).await.map_err(|error| match error {
            Failure::Api(404, _) => Unheard::Stopped(Stop::Gone),
            Failure::Api(409, _) => Unheard::Conflict,
            error @ (Failure::Api(..) | Failure::Other(_)) => Unheard::Failed(error),
        })
    }

    async fn get(&self, volume: &Volume) -> Result<Option<Volume>, Failure> {
        let name = volume.name();
        answered(async {
            Ok(match volume.kind() {
                Kind::Backup => self.backups.get_opt(name).await?.map(Volume::Backup),
                Kind::Restore => self.restores.get_opt(name).await?.map(Volume::Restore),
            })
        })
        .await
    }

    async fn patch(&self, volume: &Volume, patch: &Value) -> Result<(), Failure> {
        let (name, parameters, patch) = (volume.name(), PatchParams::default(), Patch::Merge(patch));
        answered(async {
            match volume.kind() {
                Kind::Backup => self.backups.patch_status(name, &parameters, &patch).await.map(drop),
                Kind::Restore => self.restores.patch_status(name, &parameters, &patch).await.map(drop),
            }
        })
        .await
    }

    /// Publishes that work on a volume begins. Nobody waits for it.
    pub fn tell_start(&self, volume: &Volume) {
        let place = volume.place();
        let verb = match volume.kind() {
            Kind::Backup => "Reading",
            Kind::Restore => "Filling",
        };
        let note = format!(
            "{verb} volume {} of pod {}/{}",
            place.volume, place.pod_namespace, place.pod_name
        );
        self.publish(volume, EventType::Normal, "Started", note);
    }

    /// Publishes what became of a volume. Nobody waits for it.
    pub fn tell_end(&self, volume: &Volume, phase: VolumePhase, message: Option<&str>) {
        let (kind, reason) = match phase {
            VolumePhase::Completed => (EventType::Normal, "Completed"),
            VolumePhase::Canceled => (EventType::Normal, "Canceled"),
            VolumePhase::PartiallyFailed => (EventType::Warning, "PartiallyFailed"),
            VolumePhase::Failed => (EventType::Warning, "Failed"),
            // No end at all.
            VolumePhase::New | VolumePhase::Accepted | VolumePhase::InProgress => return,
        };
        let note = message.map_or_else(|| format!("The data of {} is done", volume.source()), str::to_owned);
        self.publish(volume, kind, reason, note);
    }

    fn publish(&self, volume: &Volume, kind: EventType, reason: &str, note: String) {
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(note.chars().take(NOTE_CHARACTERS_MAX).collect()),
            action: match volume.kind() {
                Kind::Backup => "Backup".to_owned(),
                Kind::Restore => "Restore".to_owned(),
            },
            secondary: None,
        };
        let (recorder, reference, name) = (self.recorder.clone(), volume.reference(), volume.to_string());
        tokio::spawn(async move {
            let published = answered(recorder.publish(&event, &reference)).await;
            if let Err(error) = published {
                tracing::debug!(volume = %name, "The event {} was not taken: {error}", event.reason);
            }
        });
    }
}

/// Why a word was not heard.
enum Unheard {
    Stopped(Stop),
    Conflict,
    Failed(Failure),
}

/// A request that failed.
#[derive(Debug)]
enum Failure {
    /// The server has answered, with this code.
    Api(u16, String),
    /// There was no answer that could be understood.
    Other(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Api(code, message) => write!(f, "{code}: {message}"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl From<Error> for Failure {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the client's errors are many, and one of them is an answer"
    )]
    fn from(error: Error) -> Self {
        match error {
            Error::Api(status) => Self::Api(status.code, cut(&status.message).to_owned()),
            error => Self::Other(cut(&error.to_string()).to_owned()),
        }
    }
}

async fn answered<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    let answer = tokio::time::timeout(ANSWERS_WITHIN, request).await;
    let answer = answer.map_err(|_| Failure::Other(format!("no answer within {} s", ANSWERS_WITHIN.as_secs())))?;
    answer.map_err(Failure::from)
}
