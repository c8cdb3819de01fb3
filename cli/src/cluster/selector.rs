//! Labels as people write them: `app=nginx,tier!=cache,env in (a,b),!old`. The same as kubectl reads, and back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Reads a selector.
///
/// # Errors
/// Says what cannot be understood, and what to write.
pub fn parse(text: &str) -> Result<LabelSelector, String> {
    let mut selector = LabelSelector::default();
    for part in parts(text) {
        let part = part.trim();
        if part.is_empty() {
            return Err(wrong(text, "there is nothing between two commas"));
        }
        let expression = |key: &str, operator: &str, values: Option<Vec<String>>| {
            let key = key.trim();
            if key.is_empty() || key.contains(char::is_whitespace) {
                return Err(wrong(text, &format!("`{part}` names no label")));
            }
            Ok(LabelSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values,
            })
        };
        let expression = if let Some(key) = part.strip_prefix('!') {
            expression(key, "DoesNotExist", None)?
        } else if let Some((key, value)) = part.split_once("!=") {
            expression(key, "NotIn", Some(vec![value.trim().to_owned()]))?
        } else if let Some((key, value)) = part.split_once('=') {
            let label = expression(key, "In", None)?;
            let value = value.strip_prefix('=').unwrap_or(value).trim().to_owned();
            selector.match_labels.get_or_insert_default().insert(label.key, value);
            continue;
        } else if let Some((key, values)) = part.split_once('(') {
            let values = values
                .strip_suffix(')')
                .ok_or_else(|| wrong(text, "a parenthesis is not closed"))?;
            let values = values.split(',').map(|value| value.trim().to_owned()).collect();
            match key.trim().rsplit_once(char::is_whitespace) {
                Some((key, "in")) => expression(key, "In", Some(values))?,
                Some((key, "notin")) => expression(key, "NotIn", Some(values))?,
                _ => {
                    return Err(wrong(
                        text,
                        &format!("before the parenthesis of `{part}` stands neither in nor notin"),
                    ));
                }
            }
        } else {
            expression(part, "Exists", None)?
        };
        selector.match_expressions.get_or_insert_default().push(expression);
    }
    match api::selection::selector_error(&selector) {
        Some(why) => Err(wrong(text, &why)),
        None => Ok(selector),
    }
}

/// Reads selectors of which one must fit: `a=b or c=d`.
///
/// # Errors
/// As [`parse`].
pub fn parse_or(text: &str) -> Result<Vec<LabelSelector>, String> {
    text.split(" or ").map(parse).collect()
}

fn wrong(text: &str, why: &str) -> String {
    format!("`{text}` is no selector: {why}; write for instance app=nginx,tier!=cache,env in (a,b),!old")
}

/// The parts between commas that are in no parentheses.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (place, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Writes a selector.
pub fn text(selector: &LabelSelector) -> String {
    let labels = selector
        .match_labels
        .iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let (key, values) = (&expression.key, expression.values.as_deref().unwrap_or_default());
        match (expression.operator.as_str(), values) {
            ("DoesNotExist", _) => format!("!{key}"),
            ("Exists", _) => key.clone(),
            ("NotIn", [one]) => format!("{key}!={one}"),
            ("NotIn", several) => format!("{key} notin ({})", several.join(",")),
            (_, several) => format!("{key} in ({})", several.join(",")),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

/// Writes what a spec selects by, or `<none>`.
pub fn text_of(selector: Option<&LabelSelector>, or: &[LabelSelector]) -> String {
    let all: Vec<String> = selector.into_iter().chain(or).map(text).collect();
    if all.is_empty() {
        "<none>".to_owned()
    } else {
        all.join(" or ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written() {
        for written in [
            "app=nginx",
            "app=nginx,tier!=cache",
            "env in (a,b)",
            "env notin (a,b),!old,new",
            "a=,b=c",
        ] {
            assert_eq!(text(&parse(written).unwrap()), written);
        }
        assert_eq!(
            text(&parse(" app == nginx , env in ( a , b ) ").unwrap()),
            "app=nginx,env in (a,b)"
        );
        assert_eq!(
            text_of(None, &parse_or("a=b or c in (d,e)").unwrap()),
            "a=b or c in (d,e)"
        );
        assert_eq!(text_of(None, &[]), "<none>");
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for wrong in ["", "a=b,", "=b", "a in b", "a of (b)", "a in (b", "!", "two words"] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains("app=nginx,tier!=cache"), "{wrong}: {error}");
        }
    }
}
