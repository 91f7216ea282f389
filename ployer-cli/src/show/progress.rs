//! Progress: the steps of a deployment and its output, as they come, on stderr.

use futures_util::StreamExt as _;
use ployer_core::model::{Event, EventKind, EventSeq, LogLine, Step};
use ployer_core::{Deployed, DeploymentHandle, Ployer, Result};

use super::note;

/// Shows a deployment until it has ended; `after` is the newest event before it was started.
///
/// # Errors
///
/// Those of [`DeploymentHandle::wait`].
pub(crate) async fn follow(ployer: &Ployer, deployment: &DeploymentHandle, after: EventSeq) -> Result<Deployed> {
    let mut steps = ployer.events().follow(after);
    let mut output = deployment.log();
    let mut printed = 0;
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            Some(event) = steps.next() => show_step(deployment, &event?),
            line = output.next(), if open => match line.transpose()? {
                Some(line) => printed = show_line(&line, printed),
                None => open = false,
            },
            // The output ends with the deployment, so nothing of it is missed.
            ended = deployment.wait(), if !open => return ended,
        }
    }
}

fn show_step(deployment: &DeploymentHandle, event: &Event) {
    if let EventKind::DeploymentStep { deployment_id, step } = &event.kind
        && *deployment_id == deployment.id()
        && let Some(words) = describe(*step)
    {
        note(words);
    }
}

fn describe(step: Step) -> Option<&'static str> {
    match step {
        Step::Checkout => Some("fetching the source"),
        Step::Build => Some("building"),
        Step::ReleaseCommand => Some("running the release command"),
        Step::Start => Some("starting"),
        Step::Gate => Some("waiting until it is ready"),
        Step::Switch => Some("moving requests to it"),
        _ => None,
    }
}

/// Shows a line, and before it how many were left out since line `printed`.
fn show_line(line: &LogLine, printed: u64) -> u64 {
    let missing = line.number.saturating_sub(printed + 1);
    if missing > 0 {
        note(&format!("  … {missing} lines left out …"));
    }
    note(&format!("  {}", line.text));
    line.number
}
