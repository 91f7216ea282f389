//! A command beside a replica: its environment, its folder, its confinement, for the time of one call.

use std::sync::Arc;

use super::confine::Signals;
use super::files::{blocking, failed};
use super::guest::{Guest, Pipes, Streaming, drained, read_bounded, write_all};
use super::kin::Marks;
use super::record::Record;
use super::shared::Shared;
use super::spawn::{Call, Launching};
use super::start;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Command, Secret};
use crate::runtime::ExecOutput;

/// Runs `command` and answers when it has ended.
///
/// # Errors
///
/// `Timeout` if it takes too long; it is killed then.
pub(super) async fn run(
    shared: &Arc<Shared>,
    mut record: Record,
    command: &Command,
    input: Option<Secret>,
) -> Result<ExecOutput> {
    let what = format!("`{}` beside `{}`", shell_words::join(&command.0), record.name);
    let marks = shared.marks().replica(&record.name).guest(shared.clock.new_id());
    let patience = shared.settings.exec;
    record.launch.command = command.clone();
    let run = run_now(shared, record, marks, input);
    match tokio::time::timeout(patience, run).await {
        Ok(result) => result.map_err(|cause| Error::failed(format!("{what} cannot be run")).with_source(cause)),
        Err(_) => {
            let message = format!("{what} took longer than {} s", patience.as_secs());
            Err(Error::new(ErrorKind::Timeout, message))
        }
    }
}

async fn run_now(shared: &Arc<Shared>, record: Record, marks: Marks, input: Option<Secret>) -> Result<ExecOutput> {
    let here = Arc::clone(shared);
    let prepare = move || start::launching(&here, &record, &here.folder(&record.name).read_env()?);
    let mut launching = Launching { call: Call::Within, ..blocking(prepare).await? };
    if let Some(confinement) = &mut launching.confinement {
        confinement.signals = Signals::Anywhere;
    }
    marks.put_into(&mut launching.variables);
    let started = Guest::start(launching, marks, Streaming::Apart, input.is_some(), shared.boot.clone()).await;
    let cannot = || failed("the command cannot be followed");
    let (mut guest, Pipes { stdin, stdout, stderr }) = started.map_err(cannot())?;
    let bytes_max = shared.settings.exec_bytes_max;
    let output = async {
        tokio::join!(write_all(stdin, input), read_bounded(stdout, bytes_max), async {
            match stderr {
                Some(stderr) => read_bounded(stderr, bytes_max).await,
                None => Ok(Vec::new()),
            }
        })
    };
    tokio::pin!(output);
    // A command that has ended may have left its pipes to somebody; they are killed, then the output ends.
    let (exit, (written, stdout, stderr)) = tokio::select! {
        output = &mut output => (guest.ended().await, output),
        exit = guest.ended() => {
            let rest = drained(&mut output).await;
            (exit, rest.ok_or_else(|| Error::new(ErrorKind::Timeout, "the output of the command does not end"))?)
        }
    };
    written.map_err(cannot())?;
    Ok(ExecOutput {
        exit: exit.map_err(cannot())?,
        stdout: stdout.map_err(cannot())?,
        stderr: stderr.map_err(cannot())?,
    })
}
