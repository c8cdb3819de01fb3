//! What can go wrong between us and a cloud, in our own words: refusals by the server and connections that broke.
//!
//! The transport puts a [`Trouble`] at the bottom of every error it gives to `object_store`; [`failure_of`] finds it again under whatever has been
//! wrapped around it. What reaches a person is a code, a sentence and a host: never a URL with its query, never a header.

use std::error::Error as StdError;
use std::fmt;

use crate::store::backend::Failure;
use crate::words::StoreFailure;

/// What went wrong with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server answered that it will not.
    Refused(Refusal),
    /// There was no whole answer.
    Broken {
        /// Host and port.
        host: String,
        how: Broken,
        /// The deepest reason that is known.
        why: String,
    },
    /// No credentials were given, and the machine's own could not be had from its metadata server.
    NoCredentials {
        why: String,
        /// Whether they could be had before.
        passing: bool,
    },
}

/// How a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It was never made.
    NotConnected,
    /// The server's certificate is not trusted, or there is no common way to speak.
    NotTrusted,
    /// Nothing moved for too long.
    Stalled,
    /// It ended in the middle.
    Cut,
}

/// The answer of a server that will not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// HTTP's status.
    pub(super) status: u16,
    /// The store's own code ("NoSuchKey"); may be empty.
    pub(super) code: String,
    /// The store's sentence; may be empty.
    pub(super) message: String,
    /// The region that the bucket is in, when that is the point.
    pub(super) region: String,
    /// Seconds by which the server's clock is ahead of ours, when it is off by more than stores accept.
    pub(super) skew_seconds: Option<i64>,
}

impl Trouble {
    fn failure(&self) -> Failure {
        match self {
            Self::Refused(refusal) => refusal.failure(),
            Self::Broken { host, how, why } => {
                let cause = if why.is_empty() {
                    host.clone()
                } else {
                    format!("{host}: {why}")
                };
                match how {
                    Broken::NotConnected => Failure::passing(StoreFailure::Unreachable, cause),
                    Broken::NotTrusted => Failure::lasting(StoreFailure::Unreachable, cause),
                    Broken::Stalled | Broken::Cut => Failure::passing(StoreFailure::Timeout, cause),
                }
            }
            Self::NoCredentials { why, passing } => Failure {
                kind: StoreFailure::Denied,
                passing: *passing,
                cause: format!("no credentials are given, and this machine has none of its own: {why}"),
            },
        }
    }
}

impl Refusal {
    /// What the code means; where there is none, what the status means.
    fn failure(&self) -> Failure {
        use StoreFailure as Kind;
        let code = self.code.as_str();
        let says = |part: &str| self.message.to_ascii_lowercase().contains(part);
        let lasting = |kind| (kind, false);
        let passing = |kind| (kind, true);
        let (kind, passing) = match code {
            "NoSuchBucket" | "ContainerNotFound" | "NoSuchUpload" | "BucketNotFound" | "ContainerDisabled" => {
                lasting(Kind::NoBucket)
            }
            "ContainerBeingDeleted" | "OperationAborted" | "ConditionalRequestConflict" => passing(Kind::Busy),
            "NoSuchKey" | "BlobNotFound" | "ResourceNotFound" | "NoSuchVersion" => lasting(Kind::NotFound),
            "ExpiredToken"
            | "ExpiredTokenException"
            | "TokenRefreshRequired"
            | "RequestExpired"
            | "InvalidIdentityToken" => lasting(Kind::Expired),
            "RequestTimeTooSkewed" => lasting(Kind::ClockSkew),
            "invalid_grant" | "invalid_client" if says("expired") => lasting(Kind::Expired),
            "invalid_grant" if says("iat and exp") => lasting(Kind::ClockSkew),
            "AuthenticationFailed" if says("specified time frame") || says("expired") => lasting(Kind::Expired),
            "AuthenticationFailed" | "InvalidHeaderValue" if says("date header") => lasting(Kind::ClockSkew),
            "SlowDown"
            | "ServerBusy"
            | "TooManyRequests"
            | "Throttling"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded"
            | "TotalRequestsExceeded"
            | "rateLimitExceeded"
            | "userRateLimitExceeded" => passing(Kind::Busy),
            "RequestTimeout" | "OperationTimedOut" => passing(Kind::Timeout),
            "QuotaExceeded"
            | "StorageQuotaExceeded"
            | "InsufficientStorage"
            | "XMinioStorageFull"
            | "InsufficientCapacity"
            | "AccountLimitExceeded"
            | "BucketQuotaExceeded"
            | "XMinioAdminBucketQuotaExceeded" => lasting(Kind::Full),
            "ReadOnlyMode" | "XMinioReadOnly" | "BucketReadOnly" | "AccountIsReadOnly" => lasting(Kind::ReadOnly),
            "AccessDenied"
            | "AllAccessDisabled"
            | "SignatureDoesNotMatch"
            | "InvalidAccessKeyId"
            | "AuthorizationFailure"
            | "AuthorizationPermissionMismatch"
            | "AuthenticationFailed"
            | "InvalidAuthenticationInfo"
            | "AccountIsDisabled"
            | "InsufficientAccountPermissions"
            | "InvalidToken"
            | "NotSignedUp"
            | "invalid_grant"
            | "invalid_client"
            | "unauthorized_client" => match self.skew_seconds {
                Some(_) => lasting(Kind::ClockSkew),
                None => lasting(Kind::Denied),
            },
            _ => match self.status {
                401 | 403 if self.skew_seconds.is_some() => lasting(Kind::ClockSkew),
                401 | 403 => lasting(Kind::Denied),
                404 => lasting(Kind::NotFound),
                408 | 504 => passing(Kind::Timeout),
                429 | 503 => passing(Kind::Busy),
                507 => lasting(Kind::Full),
                500..=599 if self.status != 501 => passing(Kind::Other),
                _ => lasting(Kind::Other),
            },
        };
        Failure {
            kind,
            passing,
            cause: self.cause(),
        }
    }

    fn cause(&self) -> String {
        if !self.region.is_empty() {
            return format!("the bucket is in region {}", self.region);
        }
        let mut cause = if self.code.is_empty() {
            format!("status {}", self.status)
        } else {
            self.code.clone()
        };
        if !self.message.is_empty() {
            cause.push_str(": ");
            cause.push_str(&self.message);
        }
        if let Some(skew) = self.skew_seconds {
            let direction = if skew > 0 { "ahead of" } else { "behind" };
            cause.push_str(&format!(
                "; the store's clock is {} minutes {direction} this machine's",
                skew.abs() / 60
            ));
        }
        cause
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failure().cause)
    }
}

impl StdError for Trouble {}

/// The refusal of a server under an error of `object_store`, if that is what it is.
pub(super) fn refusal_of(error: &object_store::Error) -> Option<&Refusal> {
    match trouble_of(error) {
        Some(Trouble::Refused(refusal)) => Some(refusal),
        Some(Trouble::Broken { .. } | Trouble::NoCredentials { .. }) | None => None,
    }
}

/// What an error of `object_store` means.
pub(super) fn failure_of(error: &object_store::Error) -> Failure {
    if let Some(trouble) = trouble_of(error) {
        return trouble.failure();
    }
    let text = error.to_string();
    // Errors of single objects in a bulk delete, and refusals under status 200, come as text alone.
    let code = text.split_once("(code: ").and_then(|(_, rest)| rest.split_once(')'));
    let code = code.or_else(|| {
        text.split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"))
    });
    if let Some((code, _)) = code {
        let refusal = match code.parse() {
            Ok(status) => Refusal {
                status,
                ..Refusal::default()
            },
            Err(_) => Refusal {
                status: 500,
                code: code.to_owned(),
                ..Refusal::default()
            },
        };
        return refusal.failure();
    }
    if matches!(error, object_store::Error::NotFound { .. }) {
        return Failure::not_found();
    }
    let is_denied = matches!(
        error,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
    );
    Failure::lasting(
        if is_denied {
            StoreFailure::Denied
        } else {
            StoreFailure::Other
        },
        plain(&text),
    )
}

fn trouble_of(error: &object_store::Error) -> Option<&Trouble> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(trouble) = error.downcast_ref::<Trouble>() {
            return Some(trouble);
        }
        next = error.source();
    }
    None
}

/// Makes a foreign sentence fit for a person: one line, short, without the queries of URLs (signatures are there).
pub(super) fn plain(text: &str) -> String {
    const LENGTH_MAX: usize = 240;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("");
    let mut short = String::new();
    for word in line.split_whitespace() {
        let word = word
            .split_once('?')
            .map_or(word, |(before, query)| if query.contains('=') { before } else { word });
        if short.len() + word.len() > LENGTH_MAX {
            short.push('…');
            break;
        }
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(word);
    }
    short.trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn kind(status: u16, code: &str, message: &str) -> (StoreFailure, bool) {
        let refusal = Refusal {
            status,
            code: code.into(),
            message: message.into(),
            ..Refusal::default()
        };
        let failure = refusal.failure();
        (failure.kind, failure.passing)
    }

    #[test]
    fn codes_of_three_clouds_say_what_a_person_does_next() {
        use StoreFailure::*;
        for (status, code, message, expected) in [
            (404, "NoSuchBucket", "", (NoBucket, false)),
            (404, "ContainerNotFound", "", (NoBucket, false)),
            (404, "NoSuchKey", "", (NotFound, false)),
            (403, "SignatureDoesNotMatch", "", (Denied, false)),
            (
                403,
                "AuthenticationFailed",
                "Make sure the value of Authorization header is formed correctly",
                (Denied, false),
            ),
            (
                403,
                "AuthenticationFailed",
                "Signature not valid in the specified time frame",
                (Expired, false),
            ),
            (
                403,
                "AuthenticationFailed",
                "The Date header in the request is incorrect",
                (ClockSkew, false),
            ),
            (400, "ExpiredToken", "", (Expired, false)),
            (
                400,
                "invalid_grant",
                "Invalid JWT: check your iat and exp values",
                (ClockSkew, false),
            ),
            (403, "RequestTimeTooSkewed", "", (ClockSkew, false)),
            (503, "SlowDown", "", (Busy, true)),
            (429, "", "", (Busy, true)),
            (500, "InternalError", "", (Other, true)),
            (501, "NotImplemented", "", (Other, false)),
            (507, "", "", (Full, false)),
            (403, "", "", (Denied, false)),
        ] {
            assert_eq!(kind(status, code, message), expected, "{status} {code} {message}");
        }
    }

    #[test]
    fn a_sentence_for_people_holds_no_query() {
        let text = "GET http://host/b/k?X-Amz-Signature=abc failed. Really?\nsecond line";
        assert_eq!(plain(text), "GET http://host/b/k failed. Really?");
        assert!(plain(&"word ".repeat(200)).len() < 260);
    }
}
