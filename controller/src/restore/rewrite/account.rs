//! Service accounts, their tokens, and who has which role.

use serde_json::Value;

use super::super::fields::{self, items_mut, remove_all, remove_annotations, remove_empty, retain, text};
use super::super::mapping::Mapping;

/// An account does without the secrets that were made for it by themselves.
pub fn account(account: &mut Value) {
    let name = fields::name(account).to_owned();
    let stays = |reference: &Value| {
        let secret = text(reference, "/name").unwrap_or_default();
        let made = |kind: &str| {
            secret
                .strip_prefix(&format!("{name}-{kind}-"))
                .is_some_and(|rest| rest.len() == 5)
        };
        !made("token") && !made("dockercfg")
    };
    retain(account, "/secrets", stays);
    retain(account, "/imagePullSecrets", stays);
}

/// A token that a person has asked for is made anew, for the account as it is here.
pub fn secret(secret: &mut Value) {
    if text(secret, "/type") != Some("kubernetes.io/service-account-token") {
        return;
    }
    remove_annotations(secret, &["kubernetes.io/service-account.uid"]);
    remove_all(secret, &["/data/token", "/data/ca.crt", "/data/namespace"]);
    remove_empty(secret, "/data");
}

/// Accounts are bound under their namespaces' new names.
pub fn binding(binding: &mut Value, mapping: &Mapping) {
    for subject in items_mut(binding, "/subjects") {
        if let Some(Value::String(namespace)) = subject.pointer_mut("/namespace") {
            *namespace = mapping.namespace(namespace).to_owned();
        }
        let named = matches!(text(subject, "/kind"), Some("User" | "Group"));
        if let Some(Value::String(name)) = subject.pointer_mut("/name").filter(|_| named) {
            *name = mapping.account_user(name);
        }
    }
}
