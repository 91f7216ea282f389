//! Routes: every path of the API, and what answers elsewhere. One file a section of the documentation.

mod health;

use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::health::Health;
use crate::problem::Problem;

/// The largest body of a request.
pub(crate) const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// The whole API as one service.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/api/v1/health", get(health::show))
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, ANSWER))
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .with_state(health)
}

async fn no_path(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", format!("there is nothing at `{}`", uri.path()))
}

async fn no_method(uri: Uri) -> Problem {
    let detail = format!("`{}` does not answer this method", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, header};
    use axum::response::Response;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(method: &str, path: &str) -> Response {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router(Health::new()).oneshot(request).await.unwrap()
    }

    async fn json(answer: Response) -> serde_json::Value {
        serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn health_is_degraded_until_the_database_was_seen() {
        let answer = ask("GET", "/api/v1/health").await;

        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let expected = serde_json::json!({
            "status": "degraded",
            "version": env!("CARGO_PKG_VERSION"),
            "services": { "database": false, "docker": false },
        });
        assert_eq!(json(answer).await, expected);
    }

    #[tokio::test]
    async fn what_is_not_there_answers_a_problem_document() {
        for (method, path, status, kind) in
            [("GET", "/nowhere", 404, "not-found"), ("DELETE", "/api/v1/health", 405, "method-not-allowed")]
        {
            let answer = ask(method, path).await;

            assert_eq!(answer.status().as_u16(), status);
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
            let body = json(answer).await;
            assert_eq!((&body["status"], &body["type"]), (&status.into(), &format!("urn:ployer:{kind}").into()));
        }
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused() {
        let body = Body::from(vec![0; BODY_BYTES_MAX + 1]);
        let request = Request::post("/api/v1/health").header(header::CONTENT_LENGTH, BODY_BYTES_MAX + 1).body(body);

        let answer = router(Health::new()).oneshot(request.unwrap()).await.unwrap();

        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
