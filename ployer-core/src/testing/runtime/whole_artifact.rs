//! Whole artifact: an artifact is there entirely or not at all.

use std::sync::Mutex;

use super::{BuildProgram, Program, RuntimeHarness, replica, seen};
use crate::error::ErrorKind;
use crate::model::{Artifact, DeploymentId, ReplicaState, Workload};
use crate::runtime::{ArtifactName, BuildRequest, LogSink};

/// Keeps the lines that a build prints.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Vec<String>>);

impl Lines {
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn has(&self, text: &str) -> bool {
        self.all().iter().any(|line| line == text)
    }
}

impl LogSink for Lines {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// What was built is there, and runs.
pub async fn a_built_artifact_is_there_and_runs(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let request = harness.source(instance, BuildProgram::Succeeds).await;

    let artifact = harness.builder().build(&request, &Lines::default()).await.unwrap();

    assert!(harness.builder().exists(&artifact).await.unwrap());
    let workload = harness.workload(instance, Program::Idles).await;
    let workload = Workload { artifact, ..workload };
    let replica = replica(&workload, 1);
    runtime.start(&workload, &replica).await.unwrap();
    assert_eq!(seen(&*runtime, instance, &replica.name).await.unwrap().state, ReplicaState::Running);
}

/// Lines of both streams come in the order in which they were printed.
pub async fn the_lines_of_a_build_come_in_order(harness: impl RuntimeHarness) {
    let request = harness.source(harness.instance(), BuildProgram::Succeeds).await;
    let lines = Lines::default();

    harness.builder().build(&request, &lines).await.unwrap();

    let mut lines = lines.all();
    lines.retain(|line| ["one", "two", "three"].contains(&line.as_str()));
    assert_eq!(lines, ["one", "two", "three"]);
}

/// A build that fails says so, keeps its lines, and leaves no artifact.
pub async fn a_failed_build_names_its_end_and_leaves_no_artifact(harness: impl RuntimeHarness) {
    let instance = harness.instance();
    let good = harness.source(instance, BuildProgram::Succeeds).await;
    let artifact = harness.builder().build(&good, &Lines::default()).await.unwrap();
    harness.builder().remove(&good.artifact).await.unwrap();
    let bad = harness.source(instance, BuildProgram::Fails).await;
    let lines = Lines::default();

    let error = harness.builder().build(&renamed(bad, &good), &lines).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.chain().contains("exit code"), "{}", error.chain());
    assert!(lines.has("one"), "{:?}", lines.all());
    assert!(!harness.builder().exists(&artifact).await.unwrap());
}

/// A removed artifact is gone; absence is no error.
pub async fn a_removed_artifact_is_gone_and_removing_again_is_no_error(harness: impl RuntimeHarness) {
    let request = harness.source(harness.instance(), BuildProgram::Succeeds).await;
    let artifact = harness.builder().build(&request, &Lines::default()).await.unwrap();

    harness.builder().remove(&request.artifact).await.unwrap();
    harness.builder().remove(&request.artifact).await.unwrap();

    assert!(!harness.builder().exists(&artifact).await.unwrap());
    assert_eq!(harness.left_of_builds().await, 0);
}

/// A second name is an artifact of its own: it stays when the first is removed.
pub async fn a_reused_artifact_outlives_the_first(harness: impl RuntimeHarness) {
    let instance = harness.instance();
    let request = harness.source(instance, BuildProgram::Succeeds).await;
    let first = harness.builder().build(&request, &Lines::default()).await.unwrap();
    let later = DeploymentId::from(uuid::Uuid::from_u128(request.artifact.deployment.as_uuid().as_u128() + 1));
    let name = ArtifactName { deployment: later, ..request.artifact.clone() };

    let second = harness.builder().reuse(&first, &name, instance).await.unwrap();
    let again = harness.builder().reuse(&first, &name, instance).await.unwrap();
    harness.builder().remove(&request.artifact).await.unwrap();

    assert_eq!(second, again);
    assert!(!harness.builder().exists(&first).await.unwrap());
    assert!(harness.builder().exists(&second).await.unwrap());
}

/// The same build under the name and place of another.
pub(super) fn renamed(request: BuildRequest, like: &BuildRequest) -> BuildRequest {
    BuildRequest { application: like.application, artifact: like.artifact.clone(), ..request }
}

/// Whether two artifacts are found at the same place.
pub(super) fn is_same_place(a: &Artifact, b: &Artifact) -> bool {
    match (a, b) {
        (Artifact::Directory { path: a }, Artifact::Directory { path: b }) => a == b,
        (Artifact::Image { reference: a, .. }, Artifact::Image { reference: b, .. }) => a == b,
        _ => false,
    }
}
