//! Claims that are here and await their data: a restore before this one has made them, and did not fill them. They are filled by this one, or what mounts them is
//! not made, as in the first one: a workload that starts on an empty volume hides that its data is missing, and writes where it should come. The same goes for a claim
//! that is not here although it should be: whoever makes it for the workload makes it empty.
//!
//! What must hold: a claim bears the annotation from the moment it is made until its data is there, and no longer when a restore lets something mount it. A claim
//! that some pod mounts is not filled, for what that has written would be lost. [`decide`] is pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use api::selection::Kind;
use api::words;
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::fields::{annotation, name, text};
use super::super::order::Tier;
use super::super::requests;
use super::super::tally::count;
use super::super::volumes::Target;
use super::super::work::Work;
use super::users;
use crate::cluster::list::list;
use crate::context::{is_conflict, is_not_found, say, steady};

/// How long it is tried again to settle a claim that others change, or whose agent is still to stop.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// A claim that is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Claim {
    name: String,
    version: String,
    /// Its PersistentVolume; empty for none yet.
    volume: String,
    /// The Restore that is to fill it, if it awaits its data.
    filler: Option<String>,
    /// This restore has made it, or made it its own.
    ours: bool,
    /// It is being deleted.
    going: bool,
}

/// What decides about one that awaits its data.
#[derive(Clone, Copy, Debug, Default)]
struct Facts<'a> {
    /// Whether this restore brings data of volumes back at all.
    wanted: bool,
    /// Whether its backup has that of this claim.
    has_data: bool,
    /// Whether this restore has to do with it: it restores the claim, or something that mounts it.
    meant: bool,
    /// Who is filling it.
    filled_by: Option<&'a str>,
    /// The pods that mount it.
    mounted_by: &'a [String],
}

/// What is done about one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    /// It is filled.
    Fill,
    /// It stays as it is, and what mounts it is not made.
    Stays(String),
    /// It was said that volumes begin as they are.
    Release,
}

fn decide(facts: &Facts<'_>) -> Decision {
    if let Some(filler) = facts.filled_by {
        return Decision::Stays(format!("{filler} is filling it"));
    }
    if !facts.meant {
        return Decision::Stays("this restore has nothing to do with it".to_owned());
    }
    if !facts.wanted {
        return Decision::Release;
    }
    if !facts.has_data {
        return Decision::Stays("this backup does not have it".to_owned());
    }
    if !facts.mounted_by.is_empty() {
        return Decision::Stays(format!(
            "what {} may have written there by now would be lost: delete what mounts it",
            facts.mounted_by.join(", ")
        ));
    }
    Decision::Fill
}

/// Looks for such claims wherever this restore makes something, and decides about each.
///
/// # Errors
/// What the server says.
pub async fn look(work: &Arc<Work>) -> Result<()> {
    let Some(claims) = work.served("persistentvolumeclaims") else {
        return Ok(());
    };
    let mut planned: BTreeMap<Arc<str>, BTreeMap<&str, usize>> = BTreeMap::new();
    for (place, item) in work.plan.restored() {
        let within = planned.entry(Arc::clone(&item.target)).or_default();
        if item.level.tier == Tier::Claims {
            within.insert(&*item.facts.name, place);
        }
    }
    for (namespace, planned) in planned.iter().filter(|(namespace, _)| !namespace.is_empty()) {
        let until = Instant::now() + SETTLED_WITHIN;
        while !settle(work, &claims, namespace, planned, Instant::now() > until).await? {
            if work.stop.sleep(Duration::from_secs(1)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Deals with the claims of a namespace; `planned` are those that this restore brings back, by their names. Gives whether each is settled: in the `last` try, what others
/// go on changing stays as it is.
async fn settle(
    work: &Work,
    kind: &Kind,
    namespace: &str,
    planned: &BTreeMap<&str, usize>,
    last: bool,
) -> Result<bool> {
    let here = here(work, kind, namespace).await?;
    tell_missing(work, namespace, planned, &here);
    let waiting: Vec<&Claim> = here.iter().filter(|claim| claim.is_left()).collect();
    if waiting.is_empty() {
        return Ok(true);
    }
    let mounted = users::mounted(work, namespace).await?;
    let mut settled = true;
    for claim in waiting {
        let place = planned.get(claim.name.as_str()).copied();
        let item = place.map(|place| work.item(place));
        let filler = filler(work, claim);
        let is_late = matches!(filler, Some(Filler::Late(_)));
        if is_late && !last {
            settled = false;
            continue;
        }
        let decision = decide(&Facts {
            wanted: work.spec().restore_volumes,
            has_data: item.is_some_and(|item| work.claim_has_data(item)),
            meant: place.is_some() || is_mounted_by_plan(work, namespace, &claim.name),
            filled_by: filler.as_ref().map(Filler::name),
            mounted_by: mounted.get(&claim.name).map_or(&[], Vec::as_slice),
        });
        let change = match decision {
            Decision::Stays(why) => {
                stays(work, namespace, claim, place, &why);
                continue;
            }
            Decision::Fill => adopted(work, claim),
            Decision::Release => released(claim),
        };
        let about = format!("persistentvolumeclaims/{namespace}/{}", claim.name);
        let client = &work.context.client;
        match steady(|| requests::merge(client, kind, namespace, &claim.name, "", &change)).await {
            Ok(_) => {}
            Err(error) if (is_conflict(&error) || is_not_found(&error)) && last => {
                stays(work, namespace, claim, place, "others go on changing it");
                continue;
            }
            Err(error) if is_conflict(&error) || is_not_found(&error) => {
                settled = false;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let Some(place) = place.filter(|_| decision == Decision::Fill) else {
            work.issues
                .log(&format!("{about}: it awaited its data, and begins with what is in it"));
            continue;
        };
        work.issues.log(&format!(
            "{about}: it awaits its data since a restore before this one, and gets it"
        ));
        work.known().claims.insert(place);
    }
    Ok(settled)
}

/// Claims whose data should come back and that are not here, because they could not be made (which was said): what mounts them is not made.
fn tell_missing(work: &Work, namespace: &str, planned: &BTreeMap<&str, usize>, here: &[Claim]) {
    let awaited = planned
        .iter()
        .filter(|(_, place)| work.claim_awaits(work.item(**place)));
    for (claim, _) in awaited.filter(|(claim, _)| is_missing(claim, here)) {
        if work
            .known()
            .empty_claims
            .insert((namespace.to_owned(), (*claim).to_owned()))
        {
            count(&work.tally.volumes_total);
            count(&work.tally.volumes_failed);
        }
    }
}

fn is_missing(claim: &str, here: &[Claim]) -> bool {
    !here.iter().any(|here| here.name == claim && !here.going)
}

/// Whoever fills a claim.
enum Filler {
    /// A Restore that is at work.
    Restore(String),
    /// An agent that has not yet stopped, for a Restore that has ended.
    Late(String),
}

impl Filler {
    fn name(&self) -> &str {
        match self {
            Self::Restore(name) | Self::Late(name) => name,
        }
    }
}

fn filler(work: &Work, claim: &Claim) -> Option<Filler> {
    let filler = claim.filler.as_ref()?;
    let restores = work.context.watches.restores.all();
    let restore = restores.iter().find(|restore| restore.uid().as_ref() == Some(filler));
    let is_at_work = |restore: &&Arc<api::Restore>| {
        *filler != work.uid && !restore.status.as_ref().is_some_and(|status| status.phase.is_final())
    };
    if let Some(restore) = restore.filter(is_at_work) {
        return Some(Filler::Restore(format!("the Restore {}", restore.name_any())));
    }
    let agents = work.context.watches.volume_restores.all();
    let agent = agents.iter().find(|agent| {
        let has_ended = agent.status.as_ref().is_some_and(|status| status.phase.is_final());
        !has_ended
            && agent.spec.restore_uid != work.uid
            && !claim.volume.is_empty()
            && agent.spec.place.folder == claim.volume
    });
    agent.map(|agent| Filler::Late(format!("the agent of node {}", agent.spec.node)))
}

/// Whether something that is restored mounts a claim of a namespace.
fn is_mounted_by_plan(work: &Work, namespace: &str, claim: &str) -> bool {
    let mut items = work.plan.restored().filter(|(_, item)| &*item.target == namespace);
    items.any(|(_, item)| item.facts.needs_claim(claim))
}

/// A claim stays without its data, and what mounts it is not made.
fn stays(work: &Work, namespace: &str, claim: &Claim, planned: Option<usize>, why: &str) {
    let is_new = work
        .known()
        .empty_claims
        .insert((namespace.to_owned(), claim.name.clone()));
    // Where the claim itself is not asked for, what mounts it says so.
    if !is_new || planned.is_none() {
        return;
    }
    work.issues.error(
        "ClaimAwaitsData",
        format!("persistentvolumeclaims/{namespace}/{}", claim.name),
        format!(
            "A restore before this one has left it without its data, and {why}. What mounts it is not made; restore a backup that has its data, or let it begin with what \
             is in it by `--restore-volumes=false`"
        ),
    );
    count(&work.tally.volumes_total);
    count(&work.tally.volumes_failed);
}

/// The claim becomes this restore's, which goes on with it if it has to begin again.
fn adopted(work: &Work, claim: &Claim) -> Value {
    json!({ "metadata": {
        "resourceVersion": claim.version,
        "annotations": { words::AWAITS_DATA: work.uid, words::RESTORE_UID: work.uid },
        "labels": {
            words::RESTORE_NAME: words::label_value(&work.name),
            words::BACKUP_NAME: words::label_value(&work.backup),
        },
    } })
}

fn released(claim: &Claim) -> Value {
    json!({ "metadata": { "resourceVersion": claim.version, "annotations": { words::AWAITS_DATA: null } } })
}

/// The claims of a namespace.
async fn here(work: &Work, kind: &Kind, namespace: &str) -> Result<Vec<Claim>> {
    let mut here = Vec::new();
    let listed = list(&work.context.client, kind, namespace, |page| {
        here.extend(page.iter().map(|claim| Claim::of(claim, &work.uid)));
    });
    match listed.await {
        Ok(()) => Ok(here),
        Err(error) if is_not_found(&error) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

impl Claim {
    fn of(claim: &Value, restore: &str) -> Self {
        let field = |path: &str| text(claim, path).unwrap_or_default().to_owned();
        Self {
            name: name(claim).to_owned(),
            version: field("/metadata/resourceVersion"),
            volume: field("/spec/volumeName"),
            filler: annotation(claim, words::AWAITS_DATA).map(str::to_owned),
            ours: annotation(claim, words::RESTORE_UID) == Some(restore),
            going: text(claim, "/metadata/deletionTimestamp").is_some(),
        }
    }

    /// It awaits its data, and not from this restore.
    fn is_left(&self) -> bool {
        self.filler.is_some() && !self.ours && !self.going
    }
}

/// What is to be done about a claim that was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is said that its data is there.
    Say,
    /// That was said.
    Said,
    /// It is not the one that was filled.
    Gone,
}

/// `volume` is the PersistentVolume that was filled.
fn end_of(claim: &Claim, restore: &str, volume: &str) -> End {
    let is_it = claim.ours && !claim.going && claim.volume == volume;
    match claim.filler.as_deref() {
        Some(filler) if is_it && filler == restore => End::Say,
        None if is_it => End::Said,
        Some(_) | None => End::Gone,
    }
}

/// Says on a claim that its data is there, if it is the very one whose volume was filled. Gives whether that is said: what mounts it is not made before, for a restore that
/// came later would fill it again, and not at all if somebody has deleted the claim meanwhile.
pub async fn end(work: &Work, target: &Target, volume: &str) -> bool {
    let (namespace, name) = (&target.namespace, &target.name);
    let about = format!("persistentvolumeclaims/{namespace}/{name}");
    let Some(kind) = work.served("persistentvolumeclaims") else {
        return false;
    };
    let client = &work.context.client;
    loop {
        let found = match work.get(&kind, namespace, name).await {
            Ok(found) => found.map(|claim| Claim::of(&claim, &work.uid)).unwrap_or_default(),
            Err(error) => return not_released(work, about, &error),
        };
        match end_of(&found, &work.uid, volume) {
            End::Said => return true,
            End::Gone => {
                work.issues.error(
                    "ClaimGone",
                    about,
                    "It was deleted while its data came back, and what is here now is another one or none: what mounts it is not made. Restore once more".to_owned(),
                );
                return false;
            }
            End::Say => {}
        }
        let change = released(&found);
        match steady(|| requests::merge(client, &kind, namespace, name, "", &change)).await {
            Ok(_) => return true,
            // Somebody has changed it meanwhile: what it is now is looked at.
            Err(error) if (is_conflict(&error) || is_not_found(&error)) && !work.stop.is_asked() => {}
            Err(error) => return not_released(work, about, &error),
        }
    }
}

fn not_released(work: &Work, about: String, error: &kube::Error) -> bool {
    work.issues.error(
        "ClaimNotReleased",
        about,
        format!("Its data is there, and that could not be said on it: {}", say(error)),
    );
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_awaits_its_data_is_filled_or_nothing_starts_on_it() {
        let pods = ["the pod db-0".to_owned()];
        let good = Facts {
            wanted: true,
            has_data: true,
            meant: true,
            ..Facts::default()
        };
        let stays = |facts: Facts<'_>, word: &str| matches!(decide(&facts), Decision::Stays(why) if why.contains(word));
        assert_eq!(decide(&good), Decision::Fill);
        assert!(stays(
            Facts {
                has_data: false,
                ..good
            },
            "does not have it"
        ));
        // Somebody has started a workload by hand: what that has written is not written over.
        assert!(stays(
            Facts {
                mounted_by: &pods,
                ..good
            },
            "db-0"
        ));
        assert!(stays(
            Facts {
                filled_by: Some("the Restore first"),
                ..good
            },
            "first"
        ));
        let unwanted = Facts { wanted: false, ..good };
        assert_eq!(decide(&unwanted), Decision::Release);
        assert!(stays(
            Facts {
                filled_by: Some("the Restore first"),
                ..unwanted
            },
            "first"
        ));
        // Somebody restores a setting of the same namespace, and wants no volumes: the claim is not his.
        assert!(stays(
            Facts {
                meant: false,
                ..unwanted
            },
            "nothing to do"
        ));
    }

    fn claim(annotations: &Value) -> Value {
        json!({ "metadata": { "name": "data", "resourceVersion": "7", "annotations": annotations }, "spec": { "volumeName": "pv-1" } })
    }

    fn awaits(made: &str, filler: &str) -> Value {
        json!({ words::RESTORE_UID: made, words::AWAITS_DATA: filler })
    }

    #[test]
    fn claims_of_this_restore_and_those_that_have_their_data_are_none_of_them() {
        let is_left = |annotations: Value| Claim::of(&claim(&annotations), "r2").is_left();
        assert!(is_left(awaits("r1", "r1")));
        assert!(!is_left(awaits("r2", "r2")));
        assert!(!is_left(json!({ words::RESTORE_UID: "r1" })));
        assert!(!is_left(Value::Null));
    }

    #[test]
    fn a_claim_that_is_not_here_or_goes_is_missing() {
        let here = Claim::of(&claim(&Value::Null), "r2");
        let going = Claim {
            going: true,
            ..here.clone()
        };
        assert!(!is_missing("data", std::slice::from_ref(&here)));
        assert!(is_missing("data", &[going]) && is_missing("other", &[here]) && is_missing("data", &[]));
    }

    #[test]
    fn only_the_claim_whose_volume_was_filled_is_said_to_have_its_data() {
        let end = |annotations: Value, volume: &str| end_of(&Claim::of(&claim(&annotations), "r2"), "r2", volume);
        assert_eq!(end(awaits("r2", "r2"), "pv-1"), End::Say);
        // A controller before this one has said it.
        assert_eq!(end(json!({ words::RESTORE_UID: "r2" }), "pv-1"), End::Said);
        // It was deleted, and a workload's controller, another restore, or this one after a restart has made it anew.
        assert_eq!(end(Value::Null, "pv-1"), End::Gone);
        assert_eq!(end(awaits("r3", "r3"), "pv-1"), End::Gone);
        assert_eq!(end(awaits("r2", "r2"), "pv-0"), End::Gone);
        assert_eq!(end_of(&Claim::default(), "r2", "pv-1"), End::Gone);
        let going = Claim {
            going: true,
            ..Claim::of(&claim(&awaits("r2", "r2")), "r2")
        };
        assert_eq!(end_of(&going, "r2", "pv-1"), End::Gone);
    }
}
