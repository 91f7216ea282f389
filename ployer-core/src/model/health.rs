//! A health check: how often and how an application is asked whether it is well.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::Version;
use super::id::{ApplicationId, HealthCheckId};
use super::name::RequestPath;

/// How often and how an application is asked whether it is well. Its path is also the gate's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HealthCheck {
    /// Its id.
    pub id: HealthCheckId,
    /// How often it was written.
    pub version: Version,
    /// Whose it is: one an application.
    pub application_id: ApplicationId,
    /// What is asked for.
    pub path: RequestPath,
    /// Seconds between two checks, 1 to 3,600.
    pub interval_seconds: u32,
    /// Seconds that an answer may take, 1 to 300.
    pub timeout_seconds: u32,
    /// Good answers in a row that make a replica healthy, 1 to 100.
    pub healthy_threshold: u32,
    /// Bad answers in a row that make it unhealthy, 1 to 100.
    pub unhealthy_threshold: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

impl HealthCheck {
    /// A check as it is stored.
    pub fn new(id: HealthCheckId, application_id: ApplicationId, settings: NewHealthCheck, now: Timestamp) -> Self {
        Self {
            id,
            version: Version::NEW,
            application_id,
            path: settings.path,
            interval_seconds: settings.interval_seconds,
            timeout_seconds: settings.timeout_seconds,
            healthy_threshold: settings.healthy_threshold,
            unhealthy_threshold: settings.unhealthy_threshold,
            created_at: now,
        }
    }
}

/// A new health check.
#[derive(Clone, Debug, Deserialize)]
pub struct NewHealthCheck {
    /// What is asked for.
    pub path: RequestPath,
    /// Seconds between two checks, 1 to 3,600.
    #[serde(default = "interval")]
    pub interval_seconds: u32,
    /// Seconds that an answer may take, 1 to 300.
    #[serde(default = "timeout")]
    pub timeout_seconds: u32,
    /// Good answers in a row that make a replica healthy, 1 to 100.
    #[serde(default = "healthy")]
    pub healthy_threshold: u32,
    /// Bad answers in a row that make it unhealthy, 1 to 100.
    #[serde(default = "unhealthy")]
    pub unhealthy_threshold: u32,
}

impl NewHealthCheck {
    /// A check of `path` with the default interval, timeout and thresholds.
    pub fn new(path: RequestPath) -> Self {
        Self {
            path,
            interval_seconds: interval(),
            timeout_seconds: timeout(),
            healthy_threshold: healthy(),
            unhealthy_threshold: unhealthy(),
        }
    }
}

fn interval() -> u32 {
    15
}

fn timeout() -> u32 {
    5
}

fn healthy() -> u32 {
    2
}

fn unhealthy() -> u32 {
    3
}
