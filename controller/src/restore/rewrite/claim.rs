//! Claims: unbound, unless their volume comes back; of the class that is used here; and large enough for what was in them.

use serde_json::Value;

use super::super::fields::{self, remove, remove_all, remove_annotations, text};
use super::super::mapping::Mapping;
use super::{Circumstances, Note};

/// What the binding of a claim has left on it.
const BOUND: &[&str] = &[
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/selected-node",
    "volume.kubernetes.io/storage-resizer",
];
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// See above.
pub fn claim(claim: &mut Value, status: Option<&Value>, circumstances: &Circumstances, notes: &mut Vec<Note>) {
    remove_annotations(claim, BOUND);
    // What it was first filled from is in its data.
    remove_all(claim, &["/spec/dataSource", "/spec/dataSourceRef"]);
    let kept = text(claim, "/spec/volumeName").is_some_and(|volume| circumstances.keeps_volume(volume));
    if !kept {
        remove(claim, "/spec/volumeName");
        grow(claim, status, notes);
    }
    map_class(claim, &circumstances.mapping);
}

/// A volume that is larger than was asked for may hold more than fits into a new one.
fn grow(claim: &mut Value, status: Option<&Value>, notes: &mut Vec<Note>) {
    const REQUEST: &str = "/spec/resources/requests/storage";
    let had = status.and_then(|status| text(status, "/capacity/storage"));
    let (Some(had), Some(asked)) = (had.map(str::to_owned), text(claim, REQUEST).map(str::to_owned)) else {
        return;
    };
    if quantity(&had) > quantity(&asked) && quantity(&asked).is_some() {
        fields::set(
            claim,
            &["spec", "resources", "requests", "storage"],
            Value::String(had.clone()),
        );
        notes.push(Note {
            reason: "ClaimGrown",
            message: format!("It asked for {asked} and had {had}: it asks for {had} now, so that its data fits"),
        });
    }
}

/// Gives a claim, or a template of claims, the class that is used here.
pub fn map_class(claim: &mut Value, mapping: &Mapping) {
    if let Some(Value::String(class)) = claim.pointer_mut("/spec/storageClassName") {
        *class = mapping.class(class).to_owned();
    }
    if let Some(class) = fields::annotation(claim, CLASS_ANNOTATION).map(|class| mapping.class(class).to_owned()) {
        fields::set(
            claim,
            &["metadata", "annotations", CLASS_ANNOTATION],
            Value::String(class),
        );
    }
}

/// The class of a claim, by its field or, as it once was, its annotation.
pub fn class(claim: &Value) -> Option<&str> {
    text(claim, "/spec/storageClassName").or_else(|| fields::annotation(claim, CLASS_ANNOTATION))
}

/// Thousandths of what a quantity says: `1Gi`, `500M`, `2e3`.
fn quantity(text: &str) -> Option<i128> {
    const UNITS: &[(&str, i128)] = &[
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
    ];
    let unit = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor * 1000)));
    let (number, factor) = unit
        .or_else(|| Some((text.strip_suffix('m')?, 1)))
        .unwrap_or((text, 1000));
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let exponent: u32 = exponent.parse().ok()?;
    let scale = |digits: u32| 10_i128.checked_pow(digits);
    let places = u32::try_from(part.len()).ok()?;
    let mantissa: i128 = format!("{whole}{part}").parse().ok()?;
    mantissa
        .checked_mul(factor)?
        .checked_mul(scale(exponent)?)?
        .checked_div(scale(places)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_whatever_their_units() {
        for (small, large) in [
            ("1Gi", "1.5Gi"),
            ("1G", "1Gi"),
            ("1023Mi", "1Gi"),
            ("999", "1k"),
            ("1e3", "1001"),
            ("500m", "1"),
        ] {
            assert!(quantity(small) < quantity(large), "{small} {large}");
        }
        assert_eq!((quantity("1Gi"), quantity("2e3")), (quantity("1024Mi"), quantity("2k")));
        assert_eq!([quantity("much"), quantity("")], [None, None]);
    }
}
