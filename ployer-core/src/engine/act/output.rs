//! Output of replicas: the last lines that explain why one is not ready or has ended, without secret values.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::engine::EngineParts;
use super::redact::Redactor;
use crate::error::{Error, Result};
use crate::model::{ReleaseId, ReplicaName};
use crate::runtime::{ContainerRuntime, LogQuery};

/// How many lines explain a failure.
pub(super) const LINES: u32 = 20;
/// How long they may take to come.
const PATIENCE: Duration = Duration::from_secs(2);

/// The last lines that a replica printed; none where they cannot be read.
pub(super) async fn tail(
    parts: &EngineParts,
    runtime: &dyn ContainerRuntime,
    name: &ReplicaName,
    release: ReleaseId,
) -> Vec<String> {
    let read = async {
        let redactor = redactor(parts, release).await?;
        let lines = read(runtime, name, LINES).await?;
        Ok::<_, Error>(lines.iter().map(|line| redactor.redact(line)).collect())
    };
    timeout(PATIENCE, read).await.ok().and_then(Result::ok).unwrap_or_default()
}

/// The last lines that a replica printed, as they are.
pub(super) async fn read(runtime: &dyn ContainerRuntime, name: &ReplicaName, lines: u32) -> Result<Vec<String>> {
    let stream = runtime.logs(name, &LogQuery { tail: Some(lines), follow: false }).await?;
    let lines = stream.take(lines as usize).filter_map(|line| async move { line.ok().map(|line| line.text) });
    Ok(lines.collect().await)
}

/// Knows the secret values that a release runs with.
pub(super) async fn redactor(parts: &EngineParts, release: ReleaseId) -> Result<Redactor> {
    let release = parts.store.release(release).await?;
    let versions = release.map(|release| release.env).unwrap_or_default();
    Ok(Redactor::of(parts.secrets.as_ref(), versions.into_values()).await)
}
