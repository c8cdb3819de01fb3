//! Reads a server's refusal: its code and sentence in XML or JSON, and how far its clock is from ours.

use http::HeaderMap;
use http::response::Parts;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::trouble::{Refusal, plain};

/// Stores accept 15 minutes; the answer was a moment under way.
const SKEW_SECONDS_MIN: i64 = 14 * 60;

/// What the server says in its refusal.
pub(super) fn refusal(parts: &Parts, body: &[u8], sent_at: Option<i64>) -> Refusal {
    let text = String::from_utf8_lossy(body);
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
            .to_owned()
    };
    let (mut code, mut message) = if text.trim_start().starts_with('{') {
        of_json(&text)
    } else {
        of_xml(&text)
    };
    if code.is_empty() {
        code = header("x-ms-error-code");
    }
    // Azure hides what matters behind one code; its detail may go on to quote the request, so only its first words are taken.
    let detail = element(&text, "AuthenticationErrorDetail");
    for (sign, meaning) in [
        (
            "specified time frame",
            "Signature not valid in the specified time frame",
        ),
        (
            "date header",
            "The date header is not in the time frame that the server accepts",
        ),
    ] {
        if detail.to_ascii_lowercase().contains(sign) {
            message = meaning.to_owned();
        }
    }
    let region = match element(&text, "Region") {
        region if region.is_empty() && parts.status.is_redirection() => header("x-amz-bucket-region"),
        region => region,
    };
    Refusal {
        status: parts.status.as_u16(),
        code: plain(&code),
        message: plain(&message),
        region: plain(&region),
        skew_seconds: skew(&parts.headers, sent_at),
    }
}

/// When the request says it was made, in seconds since 1970. Signed requests say so.
pub(super) fn date_of_request(headers: &HeaderMap) -> Option<i64> {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(date) = value("x-amz-date") {
        let date = DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
        return Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second());
    }
    value("x-ms-date").or_else(|| value("date")).and_then(http_date)
}

fn skew(headers: &HeaderMap, sent_at: Option<i64>) -> Option<i64> {
    let theirs = headers
        .get("date")
        .and_then(|value| value.to_str().ok())
        .and_then(http_date)?;
    Some(theirs - sent_at?).filter(|skew| skew.abs() >= SKEW_SECONDS_MIN)
}

fn http_date(text: &str) -> Option<i64> {
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_second())
}

fn of_xml(text: &str) -> (String, String) {
    (element(text, "Code"), element(text, "Message"))
}

/// The token servers of Google and Azure, and Google's JSON.
fn of_json(text: &str) -> (String, String) {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else {
        return Default::default();
    };
    let at = |path: &str| {
        value
            .pointer(path)
            .and_then(serde_json::Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let code = [at("/error"), at("/error/status"), at("/code"), at("/Code")]
        .into_iter()
        .find(|code| !code.is_empty());
    let message = [
        at("/error_description"),
        at("/error/message"),
        at("/message"),
        at("/Message"),
    ];
    (
        code.unwrap_or_default(),
        message
            .into_iter()
            .find(|message| !message.is_empty())
            .unwrap_or_default(),
    )
}

/// The text of the first element of that name; empty when there is none.
fn element(text: &str, name: &str) -> String {
    let inner = text
        .split_once(&format!("<{name}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
    let Some((inner, _)) = inner else { return String::new() };
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&#34;", "\""),
        ("&amp;", "&"),
    ];
    entities.iter().fold(inner.trim().to_owned(), |text, (entity, meant)| {
        text.replace(entity, meant)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn parts(status: u16, headers: &[(&str, &str)]) -> Parts {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn refusals_are_read_in_every_clouds_way() {
        let xml = br#"<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>The &quot;key&quot; is not there.</Message></Error>"#;
        let read = refusal(&parts(404, &[]), xml, None);
        assert_eq!(
            (read.code.as_str(), read.message.as_str()),
            ("NoSuchKey", "The \"key\" is not there")
        );

        let read = refusal(
            &parts(400, &[]),
            br#"{"error":"invalid_grant","error_description":"Bad Request"}"#,
            None,
        );
        assert_eq!(
            (read.code.as_str(), read.message.as_str()),
            ("invalid_grant", "Bad Request")
        );

        let read = refusal(&parts(403, &[("x-ms-error-code", "AuthenticationFailed")]), b"", None);
        assert_eq!(read.code, "AuthenticationFailed");

        let detail = "<Error><Code>AuthenticationFailed</Code><Message>Server failed\nRequestId:1</Message>\
            <AuthenticationErrorDetail>Signature not valid in the specified time frame: Start [secret]</AuthenticationErrorDetail></Error>";
        let read = refusal(&parts(403, &[]), detail.as_bytes(), None);
        assert_eq!(read.message, "Signature not valid in the specified time frame");

        let read = refusal(&parts(301, &[("x-amz-bucket-region", "eu-west-1")]), b"", None);
        assert_eq!(read.region, "eu-west-1");
        assert_eq!(refusal(&parts(500, &[]), b"{ not json <Code>", None).code, "");
    }

    #[test]
    fn clocks_that_differ_are_seen_by_the_dates_of_request_and_answer() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-date", "20261123T120000Z".parse().unwrap());
        let sent = date_of_request(&headers).unwrap();
        headers.clear();
        headers.insert("x-ms-date", "Mon, 23 Nov 2026 12:00:00 GMT".parse().unwrap());
        assert_eq!(date_of_request(&headers), Some(sent));
        let answer = |date| refusal(&parts(403, &[("date", date)]), b"", Some(sent)).skew_seconds;
        assert_eq!(answer("Mon, 23 Nov 2026 12:00:05 GMT"), None);
        assert_eq!(answer("Mon, 23 Nov 2026 11:00:00 GMT"), Some(-3600));
        assert_eq!(answer("nonsense"), None);
    }
}
