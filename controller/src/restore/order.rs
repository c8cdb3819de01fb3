//! In which order objects are made: by what others cannot be without. Pure.

/// What is made together, before everything of the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Definitions of kinds: objects of these kinds come later.
    Definitions,
    /// Namespaces.
    Namespaces,
    /// Classes of storage, priority, ingress and the like.
    Classes,
    /// Roles.
    Roles,
    /// Service accounts.
    Accounts,
    /// Who has which role.
    Bindings,
    /// Secrets, settings and limits.
    Settings,
    /// Volumes that nobody provisions.
    Volumes,
    /// Claims; their data is filled in before anything of what follows is made in their namespace.
    Claims,
    /// Everything that is not named elsewhere: services, custom resources.
    #[default]
    Objects,
    /// Endpoints, which belong to services.
    Endpoints,
    /// Workloads.
    Workloads,
    /// What looks at workloads, or hinders them: autoscalers, budgets, quotas; and API services, whose servers are workloads.
    Followers,
    /// What refuses and changes others: webhooks and policies of admission.
    Gates,
}

/// The tier of a kind.
pub fn tier(resource: &str) -> Tier {
    match resource {
        "customresourcedefinitions.apiextensions.k8s.io" => Tier::Definitions,
        "namespaces" => Tier::Namespaces,
        "storageclasses.storage.k8s.io"
        | "volumesnapshotclasses.snapshot.storage.k8s.io"
        | "volumeattributesclasses.storage.k8s.io"
        | "csidrivers.storage.k8s.io"
        | "priorityclasses.scheduling.k8s.io"
        | "runtimeclasses.node.k8s.io"
        | "ingressclasses.networking.k8s.io"
        | "gatewayclasses.gateway.networking.k8s.io" => Tier::Classes,
        "clusterroles.rbac.authorization.k8s.io" | "roles.rbac.authorization.k8s.io" => Tier::Roles,
        "serviceaccounts" => Tier::Accounts,
        "clusterrolebindings.rbac.authorization.k8s.io" | "rolebindings.rbac.authorization.k8s.io" => Tier::Bindings,
        "secrets" | "configmaps" | "limitranges" => Tier::Settings,
        "persistentvolumes" => Tier::Volumes,
        "persistentvolumeclaims" => Tier::Claims,
        "endpoints" | "endpointslices.discovery.k8s.io" => Tier::Endpoints,
        "deployments.apps"
        | "statefulsets.apps"
        | "daemonsets.apps"
        | "replicasets.apps"
        | "replicationcontrollers"
        | "controllerrevisions.apps"
        | "jobs.batch"
        | "cronjobs.batch"
        | "pods" => Tier::Workloads,
        "horizontalpodautoscalers.autoscaling"
        | "verticalpodautoscalers.autoscaling.k8s.io"
        | "poddisruptionbudgets.policy"
        | "resourcequotas"
        | "ingresses.networking.k8s.io"
        | "apiservices.apiregistration.k8s.io" => Tier::Followers,
        "validatingwebhookconfigurations.admissionregistration.k8s.io"
        | "mutatingwebhookconfigurations.admissionregistration.k8s.io"
        | "validatingadmissionpolicies.admissionregistration.k8s.io"
        | "validatingadmissionpolicybindings.admissionregistration.k8s.io"
        | "mutatingadmissionpolicies.admissionregistration.k8s.io"
        | "mutatingadmissionpolicybindings.admissionregistration.k8s.io" => Tier::Gates,
        _ => Tier::Objects,
    }
}

impl Tier {
    /// Whether it waits, in its namespace, until claims have their data: whoever may start pods does.
    pub fn is_held(self) -> bool {
        self > Self::Claims
    }

    /// Whether its objects wait where they stand when the cluster cannot take them yet, since others cannot be made without them.
    pub fn is_foundation(self) -> bool {
        matches!(
            self,
            Self::Definitions | Self::Namespaces | Self::Volumes | Self::Claims
        )
    }

    /// What is being done, for people.
    pub fn step(self) -> &'static str {
        match self {
            Self::Definitions => "Definitions",
            Self::Namespaces => "Namespaces",
            Self::Volumes | Self::Claims => "Claims",
            Self::Classes
            | Self::Roles
            | Self::Accounts
            | Self::Bindings
            | Self::Settings
            | Self::Objects
            | Self::Endpoints
            | Self::Workloads
            | Self::Followers
            | Self::Gates => "Objects",
        }
    }
}

/// How deep each object stands below its owners of the same tier: owners come first, so that what they own can name them. `owner` gives the places of an object's owners
/// that stand in its tier; a circle of owners ends where it began.
pub fn depths(count: usize, owners: impl Fn(usize) -> Vec<usize>) -> Vec<u16> {
    const UNKNOWN: u16 = u16::MAX;
    let mut depths = vec![UNKNOWN; count];
    let mut path = Vec::new();
    for start in 0..count {
        if depths[start] != UNKNOWN {
            continue;
        }
        path.push((start, owners(start), 0_u16));
        while let Some((place, above, deepest)) = path.last_mut() {
            let Some(owner) = above.pop() else {
                depths[*place] = *deepest;
                let below = deepest.saturating_add(1).min(UNKNOWN - 1);
                path.pop();
                if let Some((_, _, deepest)) = path.last_mut() {
                    *deepest = (*deepest).max(below);
                }
                continue;
            };
            if depths[owner] != UNKNOWN {
                *deepest = (*deepest).max(depths[owner].saturating_add(1).min(UNKNOWN - 1));
            } else if !path.iter().any(|(place, _, _)| *place == owner) {
                path.push((owner, owners(owner), 0));
            }
        }
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_need_comes_before_them() {
        let before = [
            ("customresourcedefinitions.apiextensions.k8s.io", "widgets.example.org"),
            ("namespaces", "configmaps"),
            ("storageclasses.storage.k8s.io", "persistentvolumeclaims"),
            ("persistentvolumes", "persistentvolumeclaims"),
            (
                "clusterroles.rbac.authorization.k8s.io",
                "clusterrolebindings.rbac.authorization.k8s.io",
            ),
            ("serviceaccounts", "secrets"),
            ("secrets", "deployments.apps"),
            ("persistentvolumeclaims", "statefulsets.apps"),
            ("persistentvolumeclaims", "clusters.postgresql.example.org"),
            ("services", "endpoints"),
            ("services", "deployments.apps"),
            ("clusters.postgresql.example.org", "statefulsets.apps"),
            ("pods", "poddisruptionbudgets.policy"),
            ("pods", "resourcequotas"),
            (
                "ingresses.networking.k8s.io",
                "validatingwebhookconfigurations.admissionregistration.k8s.io",
            ),
            (
                "apiservices.apiregistration.k8s.io",
                "validatingadmissionpolicies.admissionregistration.k8s.io",
            ),
        ];
        for (first, second) in before {
            assert!(tier(first) < tier(second), "{first} {second}");
        }
    }

    #[test]
    fn owners_come_first_and_circles_end() {
        // 0 is owned by 1, which is owned by 2; 3 and 4 own each other; 5 by 0 and 2.
        let owners = |place: usize| match place {
            0 => vec![1],
            1 => vec![2],
            3 => vec![4],
            4 => vec![3],
            5 => vec![0, 2],
            _ => Vec::new(),
        };
        let depths = depths(6, owners);
        assert_eq!((depths[0], depths[1], depths[2], depths[5]), (2, 1, 0, 3));
        assert!(depths[3] < 2 && depths[4] < 2);
    }
}
