//! One of the replicas works: the one that holds the Lease. Whoever loses it ends, and starts again as one that waits.
//!
//! The lease keeps work from being done twice, for the sake of order and cost. It is not what keeps data safe: the repository's protocol does that, whoever
//! writes.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::context::{is_conflict, is_not_found, now};

/// The name of the Lease.
const NAME: &str = "ararat-controller";
/// A lease that was not renewed for so long is free.
const DURATION: Duration = Duration::from_secs(15);
/// How often the holder renews it, and others look.
const PERIOD: Duration = Duration::from_secs(3);
/// A holder that could not renew for so long ends: before anybody else may begin.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is to be done about a lease.
#[derive(Clone, Debug, PartialEq)]
enum Decision {
    /// Make or replace it with this.
    Write(LeaseSpec),
    /// Somebody else holds it.
    Wait,
}

/// Decides by what the lease says, for how long this has not changed by our own clock, who we are and what time it is.
fn decide(lease: Option<&LeaseSpec>, unchanged_for: Duration, me: &str, now: Timestamp) -> Decision {
    let holder = lease
        .and_then(|lease| lease.holder_identity.as_deref())
        .filter(|holder| !holder.is_empty());
    let mine = holder == Some(me);
    if let Some(lease) = lease
        && holder.is_some()
        && !mine
    {
        let duration = lease
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        // Clocks of two machines are not compared: the lease must have stood still before our eyes.
        if unchanged_for < Duration::from_secs(duration.unwrap_or(DURATION.as_secs())) {
            return Decision::Wait;
        }
    }
    let transitions = lease.and_then(|lease| lease.lease_transitions).unwrap_or(0);
    Decision::Write(LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: match lease {
            Some(lease) if mine => lease.acquire_time.clone(),
            _ => Some(MicroTime(now)),
        },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if mine {
            transitions
        } else {
            transitions.saturating_add(1)
        }),
        ..LeaseSpec::default()
    })
}

/// Tries for the Lease until this replica has it; then keeps it, in the background. The process ends when it is lost.
pub async fn lead(client: Client, namespace: &str, me: String, stop: watch::Receiver<bool>) -> kube::Result<()> {
    let leases: Api<Lease> = Api::namespaced(client, namespace);
    let mut seen: (Option<LeaseSpec>, Instant) = (None, Instant::now());
    loop {
        match turn(&leases, &me, &mut seen).await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => tracing::warn!("Could not ask for the lease: {error}"),
        }
        tokio::time::sleep(PERIOD).await;
    }
    tracing::info!("{me} leads");
    tokio::spawn(keep(leases, me, seen, stop));
    Ok(())
}

async fn keep(leases: Api<Lease>, me: String, mut seen: (Option<LeaseSpec>, Instant), mut stop: watch::Receiver<bool>) {
    let mut renewed = Instant::now();
    loop {
        tokio::select! {
            _ = stop.changed() => {
                release(&leases, &me).await;
                return;
            }
            () = tokio::time::sleep(PERIOD) => {}
        }
        let asked = Instant::now();
        match tokio::time::timeout(DEADLINE, turn(&leases, &me, &mut seen)).await {
            Ok(Ok(true)) => renewed = asked,
            Ok(Ok(false)) => {
                tracing::error!("Another replica leads now; ending");
                std::process::exit(1);
            }
            Ok(Err(error)) => tracing::warn!("Could not renew the lease: {error}"),
            Err(_) => tracing::warn!("The lease was not renewed in time"),
        }
        if renewed.elapsed() > DEADLINE {
            tracing::error!("The lease could not be renewed for {} s; ending", DEADLINE.as_secs());
            std::process::exit(1);
        }
    }
}

/// Looks at the lease once, and takes or renews it if it may be. True when it is ours.
async fn turn(leases: &Api<Lease>, me: &str, seen: &mut (Option<LeaseSpec>, Instant)) -> kube::Result<bool> {
    let lease = leases.get_opt(NAME).await?;
    let spec = lease.as_ref().and_then(|lease| lease.spec.clone());
    if seen.0 != spec {
        *seen = (spec.clone(), Instant::now());
    }
    let Decision::Write(spec) = decide(spec.as_ref(), seen.1.elapsed(), me, now()) else {
        return Ok(false);
    };
    let written = match lease {
        Some(mut lease) => {
            lease.spec = Some(spec);
            // The version that was read must still be there: of two that try, one wins.
            leases.replace(NAME, &PostParams::default(), &lease).await
        }
        None => {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(NAME.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(spec),
            };
            leases.create(&PostParams::default(), &lease).await
        }
    };
    match written {
        Ok(lease) => {
            *seen = (lease.spec, Instant::now());
            Ok(true)
        }
        Err(error) if is_conflict(&error) || is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets go, so that the other replica need not wait.
async fn release(leases: &Api<Lease>, me: &str) {
    if let Ok(Some(mut lease)) = leases.get_opt(NAME).await
        && let Some(spec) = &mut lease.spec
        && spec.holder_identity.as_deref() == Some(me)
    {
        spec.holder_identity = None;
        let _ = leases.replace(NAME, &PostParams::default(), &lease).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_free_or_still_for_its_duration_and_never_before() {
        let decide = |lease: Option<&LeaseSpec>, seconds| {
            decide(lease, Duration::from_secs(seconds), "me", Timestamp::UNIX_EPOCH)
        };
        let transitions = |decision| match decision {
            Decision::Write(spec) => spec.lease_transitions,
            Decision::Wait => None,
        };
        assert_eq!(transitions(decide(None, 0)), Some(1));
        assert_eq!(decide(Some(&held_by("other")), 14), Decision::Wait);
        assert_eq!(transitions(decide(Some(&held_by("other")), 15)), Some(4));
        assert_eq!(transitions(decide(Some(&held_by("me")), 0)), Some(3));
        assert_eq!(transitions(decide(Some(&held_by("")), 0)), Some(4));
    }
}
