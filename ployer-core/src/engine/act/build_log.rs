//! The build log: a deployment's output as numbered lines, redacted, within bounds, stored in chunks.
//!
//! Lines come faster than a store takes them, so they wait here for a moment; nothing waits for them. The first and
//! the last of a long output are kept, and how much is missing between them. After a crash the numbering goes on
//! after the last line that was stored. Storing the same lines twice changes nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::context::lock;
use super::engine::EngineParts;
use super::redact::Redactor;
use super::scope::Scope;
use crate::config::LogLimits;
use crate::error::Result;
use crate::model::{DeploymentId, LogLine};
use crate::monitor::retention;
use crate::runtime::LogSink;
use crate::source::Progress;

/// What a line costs besides its text.
const LINE_COST: usize = 32;
/// Lines read at once when the numbering is taken up again.
const PAGE: u32 = 1_000;
/// The last lines remembered for a failure.
const LAST: usize = 20;
/// When storing is tried again after it failed.
const RETRY: Duration = Duration::from_secs(1);
/// How long the last lines may take to be stored.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes the output of one deployment.
pub(super) struct BuildLog {
    parts: Arc<EngineParts>,
    deployment: DeploymentId,
    redactor: Redactor,
    lines: Mutex<Lines>,
    news: Notify,
    chunk: Notify,
}

#[derive(Default)]
struct Lines {
    /// The number of the last line.
    last: u64,
    /// Lines that are not stored yet.
    waiting: VecDeque<LogLine>,
    waiting_bytes: usize,
    recent: VecDeque<String>,
    kept: Kept,
}

/// What is stored of the output, and what of it goes when there is too much.
#[derive(Default)]
struct Kept {
    head_bytes: usize,
    /// The last line of the head.
    head_end: u64,
    /// The lines after the head, with what each costs.
    tail: VecDeque<(u64, usize)>,
    tail_bytes: usize,
    /// The last line that was left out.
    left_out: u64,
}

impl BuildLog {
    /// Opens the output of a deployment, after what is stored of it already.
    pub(super) async fn open(scope: &Scope, deployment: DeploymentId) -> Result<Self> {
        let parts = Arc::clone(&scope.context.parts);
        let redactor = redactor(scope, deployment).await?;
        let lines = stored(&parts, deployment).await?;
        if lines.last == 0 {
            let kept = parts.settings.logs.deployments_max;
            retention::trim_logs(parts.store.as_ref(), scope.application, kept).await?;
        }
        let (news, chunk) = (Notify::new(), Notify::new());
        Ok(Self { parts, deployment, redactor, lines: Mutex::new(lines), news, chunk })
    }

    /// Waits for `work` and stores its lines meanwhile.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let result = tokio::select! {
            biased;
            result = work => result,
            never = self.store_chunks() => match never {},
        };
        match timeout(PATIENCE, self.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.warn(&error),
            Err(_) => tracing::warn!(deployment = %self.deployment, "the last lines took too long to be stored"),
        }
        result
    }

    /// Adds a line.
    pub(super) fn add(&self, text: &str) {
        let limits = &self.parts.settings.logs;
        let text = cut(self.redactor.redact(text.trim_end_matches(['\r', '\n'])), limits.line_bytes_max);
        let at = self.parts.clock.now();
        let mut lines = lock(&self.lines);
        lines.add(LogLine { number: 0, at, text }, limits);
        if lines.waiting_bytes >= limits.chunk_bytes {
            self.chunk.notify_one();
        }
        self.news.notify_one();
    }

    /// The last lines, `count` at most.
    pub(super) fn last(&self, count: u32) -> Vec<String> {
        let lines = lock(&self.lines);
        lines.recent.iter().skip(lines.recent.len().saturating_sub(count as usize)).cloned().collect()
    }

    /// Stores what waits.
    async fn flush(&self) -> Result<()> {
        let waiting: Vec<LogLine> = lock(&self.lines).waiting.iter().cloned().collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let store = &self.parts.store;
        store.append_log(self.deployment, &waiting).await?;
        let excess = lock(&self.lines).stored(&waiting, &self.parts.settings.logs);
        if let Some((from, to)) = excess {
            store.leave_out_log(self.deployment, from, to).await?;
        }
        Ok(())
    }

    async fn store_chunks(&self) -> std::convert::Infallible {
        loop {
            self.news.notified().await;
            let _full = timeout(self.parts.settings.logs.chunk_delay, self.chunk.notified()).await;
            while let Err(error) = self.flush().await {
                self.warn(&error);
                sleep(RETRY).await;
            }
        }
    }

    fn warn(&self, error: &crate::error::Error) {
        tracing::warn!(deployment = %self.deployment, error = %error.chain(), "output could not be stored");
    }
}

impl Progress for BuildLog {
    fn line(&self, text: &str) {
        self.add(text);
    }
}

impl LogSink for BuildLog {
    fn line(&self, text: &str) {
        self.add(text);
    }
}

impl Lines {
    fn add(&mut self, mut line: LogLine, limits: &LogLimits) {
        self.last += 1;
        line.number = self.last;
        self.recent.push_back(line.text.clone());
        if self.recent.len() > LAST {
            self.recent.pop_front();
        }
        self.waiting_bytes += cost(&line);
        self.waiting.push_back(line);
        while self.waiting_bytes > limits.tail_bytes_max
            && let Some(dropped) = self.waiting.pop_front()
        {
            self.waiting_bytes -= cost(&dropped);
        }
    }

    /// Takes note of stored lines; answers which of them are too many.
    fn stored(&mut self, lines: &[LogLine], limits: &LogLimits) -> Option<(u64, u64)> {
        let last = lines.last()?.number;
        while self.waiting.front().is_some_and(|line| line.number <= last) {
            if let Some(line) = self.waiting.pop_front() {
                self.waiting_bytes -= cost(&line);
            }
        }
        for line in lines {
            self.kept.add(line.number, cost(line), limits);
        }
        self.kept.excess(limits)
    }
}

impl Kept {
    fn add(&mut self, number: u64, cost: usize, limits: &LogLimits) {
        if self.tail.is_empty() && self.head_bytes + cost <= limits.head_bytes_max {
            self.head_bytes += cost;
            self.head_end = number;
        } else {
            self.tail.push_back((number, cost));
            self.tail_bytes += cost;
        }
    }

    /// Lets go of the oldest lines after the head that are too many.
    fn excess(&mut self, limits: &LogLimits) -> Option<(u64, u64)> {
        let before = self.left_out;
        while self.tail_bytes > limits.tail_bytes_max
            && let Some((number, cost)) = self.tail.pop_front()
        {
            self.tail_bytes -= cost;
            self.left_out = number;
        }
        (self.left_out > before).then(|| (before.max(self.head_end) + 1, self.left_out))
    }
}

fn cost(line: &LogLine) -> usize {
    line.text.len() + LINE_COST
}

/// `text` without what is beyond `bytes_max`.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    text
}

/// What is stored of a deployment's output.
async fn stored(parts: &EngineParts, deployment: DeploymentId) -> Result<Lines> {
    let mut lines = Lines::default();
    loop {
        let page = parts.store.log(deployment, lines.last, PAGE).await?.lines;
        let Some(last) = page.last() else { return Ok(lines) };
        lines.last = last.number;
        for line in &page {
            lines.kept.add(line.number, cost(line), &parts.settings.logs);
        }
    }
}

/// Knows every value that this deployment may print: the present ones, and those of its release.
async fn redactor(scope: &Scope, deployment: DeploymentId) -> Result<Redactor> {
    let parts = &scope.context.parts;
    let env = parts.store.env_vars(scope.application).await?;
    let release = scope.deployment(deployment).await?.release.unwrap_or_else(|| deployment.into());
    let release = parts.store.release(release).await?.map(|release| release.env).unwrap_or_default();
    let versions = env.into_iter().map(|variable| variable.value).chain(release.into_values());
    Ok(Redactor::of(parts.secrets.as_ref(), versions).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::engine::act::fakes::Stand;
    use crate::model::{Actor, Deployment, DeploymentKind, EnvVar, Secret, Version};
    use crate::secrets::SecretStore;
    use crate::store::{Commit, LogStore};

    async fn deployment(stand: &Stand) -> DeploymentId {
        let now = stand.parts.clock.now();
        let id = DeploymentId::new(stand.parts.clock.as_ref());
        let kind = DeploymentKind::Deploy { commit: None, cache: crate::model::BuildCache::Use };
        let of = (stand.application.id, &stand.application.name, stand.server);
        let row = Deployment::queued(id, of, Actor::System, kind, now);
        let row = Deployment { status: crate::model::DeploymentStatus::Failed, ..row };
        crate::store::Store::commit(stand.store.as_ref(), Commit::new(Actor::System, now).insert(row)).await.unwrap();
        id
    }

    async fn texts(stand: &Stand, id: DeploymentId) -> Vec<(u64, String)> {
        let page = stand.store.log(id, 0, 10_000).await.unwrap();
        page.lines.into_iter().map(|line| (line.number, line.text)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_stored_while_the_work_goes_on() {
        let stand = Stand::new().await;
        let (scope, _tasks) = stand.scope().await;
        let id = deployment(&stand).await;
        let log = BuildLog::open(&scope, id).await.unwrap();

        let meanwhile = log.during(async {
            log.add("first");
            sleep(Duration::from_millis(150)).await;
            let meanwhile = texts(&stand, id).await.len();
            log.add("second");
            meanwhile
        });

        assert_eq!(meanwhile.await, 1);
        assert_eq!(texts(&stand, id).await, [(1, "first".to_owned()), (2, "second".to_owned())]);
    }

    #[tokio::test(start_paused = true)]
    async fn numbering_goes_on_after_what_a_crash_left() {
        let stand = Stand::new().await;
        let (scope, _tasks) = stand.scope().await;
        let id = deployment(&stand).await;
        let before = BuildLog::open(&scope, id).await.unwrap();
        before.during(async { before.add("before") }).await;
        drop(before);

        let after = BuildLog::open(&scope, id).await.unwrap();
        after.during(async { after.add("after") }).await;

        assert_eq!(texts(&stand, id).await, [(1, "before".to_owned()), (2, "after".to_owned())]);
    }

    #[tokio::test(start_paused = true)]
    async fn values_of_variables_never_reach_the_store() {
        let stand = Stand::new().await;
        let (scope, _tasks) = stand.scope().await;
        let id = deployment(&stand).await;
        let secret = Secret::from("hunter2hunter2");
        let scope_of = crate::model::SecretScope::Application(stand.application.id);
        let value = stand.world.put(scope_of, "KEY", &secret).await.unwrap();
        let now = stand.parts.clock.now();
        let (key, application_id) = ("KEY".parse().unwrap(), stand.application.id);
        let row = EnvVar { application_id, key, version: Version::NEW, value, locked: false, updated_at: now };
        stand.parts.store.commit(Commit::new(Actor::System, now).insert(row)).await.unwrap();

        let log = BuildLog::open(&scope, id).await.unwrap();
        log.during(async { log.add("using hunter2hunter2 to log in") }).await;

        assert_eq!(texts(&stand, id).await, [(1, "using [redacted] to log in".to_owned())]);
        assert_eq!(log.last(5), ["using [redacted] to log in"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_beginning_and_the_end_of_a_long_output_are_kept() {
        let logs = LogLimits { head_bytes_max: 400, tail_bytes_max: 1_000, chunk_bytes: 200, ..LogLimits::default() };
        let stand = Stand::with(Settings { logs, ..Settings::default() }).await;
        let (scope, _tasks) = stand.scope().await;
        let id = deployment(&stand).await;
        let log = BuildLog::open(&scope, id).await.unwrap();

        log.during(async {
            for number in 1..=1_000 {
                log.add(&format!("line {number:04}"));
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;

        let lines = texts(&stand, id).await;
        assert_eq!(lines.first().unwrap(), &(1, "line 0001".to_owned()));
        assert_eq!(lines.last().unwrap(), &(1_000, "line 1000".to_owned()));
        let kept: usize = lines.iter().map(|(_, text)| text.len() + LINE_COST).sum();
        assert!((1_200..=1_400).contains(&kept), "{kept} bytes are kept");
        let left_out = stand.store.log(id, 0, 1).await.unwrap().left_out;
        assert_eq!(left_out + lines.len() as u64, 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_too_long_is_cut_between_two_characters() {
        let logs = LogLimits { line_bytes_max: 5, ..LogLimits::default() };
        let stand = Stand::with(Settings { logs, ..Settings::default() }).await;
        let (scope, _tasks) = stand.scope().await;
        let id = deployment(&stand).await;
        let log = BuildLog::open(&scope, id).await.unwrap();

        log.during(async { log.add("äöüß") }).await;

        assert_eq!(texts(&stand, id).await, [(1, "äö".to_owned())]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_output_of_the_oldest_deployments_goes() {
        let logs = LogLimits { deployments_max: 2, ..LogLimits::default() };
        let stand = Stand::with(Settings { logs, ..Settings::default() }).await;
        let (scope, _tasks) = stand.scope().await;
        let mut ids = Vec::new();

        for _ in 0..4 {
            ids.push(deployment(&stand).await);
            let log = BuildLog::open(&scope, *ids.last().unwrap()).await.unwrap();
            log.during(async { log.add("line") }).await;
        }

        let mut kept = Vec::new();
        for id in ids {
            kept.push(texts(&stand, id).await.len());
        }
        assert_eq!(kept, [0, 0, 1, 1]);
    }
}
