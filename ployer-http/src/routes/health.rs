//! `GET /api/v1/health`: whether the server can work, as it was last seen.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::health::Health;

#[derive(Debug, Serialize)]
pub(super) struct HealthBody {
    status: &'static str,
    version: &'static str,
    services: ServicesBody,
}

#[derive(Debug, Serialize)]
struct ServicesBody {
    database: bool,
    docker: bool,
}

/// Answers 200 `ok`, or 503 `degraded` where the database does not answer.
pub(super) async fn show(State(health): State<Health>) -> (StatusCode, Json<HealthBody>) {
    let services = ServicesBody { database: health.database(), docker: health.docker() };
    let (code, status) = match services.database {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
    };
    (code, Json(HealthBody { status, version: env!("CARGO_PKG_VERSION"), services }))
}
