//! Problems: every error as RFC 9457 `application/problem+json`. One table from the library's kinds to a status.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ployer_core::{Error, ErrorKind};
use serde::Serialize;

/// An error as the API answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Names the kind; stable.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
}

/// What is wrong with one field of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct FieldProblem {
    field: &'static str,
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &str, detail: String) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { kind: format!("urn:ployer:{kind}"), title, status, detail, hint: None, errors: Vec::new() }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, kind) = row(error.kind());
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            // The causes are for whoever runs the server, not for whoever asks.
            tracing::error!("{}", error.chain());
        }
        let mut problem = Self::new(status, kind, error.to_string());
        problem.hint = error.hint().map(str::to_owned);
        problem.errors =
            error.field().map(|field| FieldProblem { field, detail: error.to_string() }).into_iter().collect();
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut answer = (self.status, Json(&self)).into_response();
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        answer
    }
}

/// The table.
fn row(kind: ErrorKind) -> (StatusCode, &'static str) {
    match kind {
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
        ErrorKind::AlreadyExists => (StatusCode::CONFLICT, "already-exists"),
        ErrorKind::Conflict => (StatusCode::CONFLICT, "conflict"),
        ErrorKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        ErrorKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        ErrorKind::Unsupported => (StatusCode::UNPROCESSABLE_ENTITY, "unsupported"),
        ErrorKind::Gone => (StatusCode::GONE, "gone"),
        ErrorKind::NotRunning => (StatusCode::SERVICE_UNAVAILABLE, "not-running"),
        ErrorKind::Failed => (StatusCode::BAD_GATEWAY, "failed"),
        ErrorKind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        ErrorKind::Exhausted => (StatusCode::TOO_MANY_REQUESTS, "exhausted"),
        // `Internal`, and what a newer library may add.
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_status_that_is_written_here() {
        let table = ErrorKind::ALL.map(|kind| {
            let (status, word) = row(kind);
            format!("{kind:?} {} {word}", status.as_u16())
        });

        assert_eq!(
            table,
            [
                "NotFound 404 not-found",
                "AlreadyExists 409 already-exists",
                "Conflict 409 conflict",
                "Invalid 422 invalid",
                "Forbidden 403 forbidden",
                "Unavailable 503 unavailable",
                "Unsupported 422 unsupported",
                "Gone 410 gone",
                "NotRunning 503 not-running",
                "Failed 502 failed",
                "Timeout 504 timeout",
                "Exhausted 429 exhausted",
                "Internal 500 internal",
            ]
        );
    }

    #[test]
    fn a_refused_field_is_named_beside_the_whole() {
        let error = Error::invalid("port", "it must be 1 to 65535").with_hint("leave it out");

        let body = serde_json::to_value(Problem::from(error)).unwrap();

        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:ployer:invalid",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": "port is not valid: it must be 1 to 65535",
                "hint": "leave it out",
                "errors": [{ "field": "port", "detail": "port is not valid: it must be 1 to 65535" }],
            })
        );
    }

    #[test]
    fn causes_stay_with_whoever_runs_the_server() {
        let error = Error::internal("the journal cannot be written", std::io::Error::other("/secret/path is full"));

        let body = serde_json::to_string(&Problem::from(error)).unwrap();

        assert!(!body.contains("/secret/path"), "{body}");
    }

    #[test]
    fn an_absent_service_says_when_to_come_back() {
        let answer = Problem::from(Error::unavailable("the database")).into_response();

        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key(header::RETRY_AFTER));
    }
}
