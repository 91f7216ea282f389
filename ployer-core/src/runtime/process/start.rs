//! The start of a replica: from its record to a process.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::confine::Outside;
use super::environment::{Parts, expand};
use super::files::{self, blocking, failed};
use super::kin::{self, Marks};
use super::output::Output;
use super::record::{Identity, Record};
use super::shared::Shared;
use super::sockets;
use super::spawn::{self, Call, Launching, Pace, Spawned, Streams};
use crate::error::{Error, Result};
use crate::model::{Exit, OutputStream, VolumeName};

/// What became of a start.
pub(super) enum Started {
    Process(Spawned),
    /// There is no such program, or it is none; told as a shell would, with the reason among its output.
    Refused(Exit),
}

/// Everything that a start needs, looked at before anything is recorded.
///
/// # Errors
///
/// `Conflict` if the address is taken or the release directory is gone.
pub(super) async fn prepare(shared: &Arc<Shared>, record: &Record, env: Option<&[u8]>) -> Result<Launching> {
    let (shared, record, env) = (Arc::clone(shared), record.clone(), env.map(<[u8]>::to_vec));
    blocking(move || {
        if let Some(address) = record.address.filter(|address| !sockets::is_free(*address)) {
            return Err(Error::conflict(format!("{address} is taken by something else")));
        }
        let sealed = env.map_or_else(|| shared.folder(&record.name).read_env(), Ok)?;
        launching(&shared, &record, &sealed)
    })
    .await
}

/// What a process of a replica starts with.
pub(super) fn launching(shared: &Shared, record: &Record, sealed: &[u8]) -> Result<Launching> {
    let directory = shared.release(&record.launch.release);
    if !directory.is_dir() {
        let message = format!("the release directory {} is gone", directory.display());
        return Err(Error::conflict(message).with_hint("deploy the application again"));
    }
    let volumes: Vec<(VolumeName, PathBuf)> = record
        .launch
        .volumes
        .iter()
        .map(|name| (name.clone(), shared.volume(record.owner.application, name)))
        .collect();
    let tmp = shared.tmp(&record.name);
    for folder in volumes.iter().map(|(_, path)| path).chain([&tmp]) {
        files::make_private_dir(folder).map_err(failed(format!("{} cannot be made", folder.display())))?;
    }
    let cgroup = shared.limiter.prepare(record.name.as_str(), &record.launch.limits);
    let cgroup = cgroup.map_err(failed(format!("the limits of `{}` cannot be set", record.name)))?;
    let own = shared.seal.open(&record.name, sealed)?;
    let (inherited, address) = (&shared.environment, record.address);
    let mut variables = Parts { inherited, tmp: &tmp, own: &own, address, volumes: &volumes }.variables();
    shared.marks().replica(&record.name).put_into(&mut variables);
    let output = shared.output(&shared.folder(&record.name));
    let touched = volumes.into_iter().map(|(_, path)| path).chain([
        directory.clone(),
        tmp,
        output.path(OutputStream::Stdout),
        output.path(OutputStream::Stderr),
    ]);
    Ok(Launching {
        arguments: expand(&record.launch.command, &variables),
        variables,
        cgroup,
        confinement: shared.confinement(touched.collect(), Outside::Read),
        directory,
        call: Call::Beyond,
        pace: Pace::Even,
    })
}

/// Makes the process.
pub(super) async fn spawn(shared: &Shared, output: &Output, launching: Launching) -> Result<Started> {
    let program = launching.arguments.first().map(|program| program.display().to_string()).unwrap_or_default();
    let streams = || -> io::Result<Streams> {
        let (stdout, stderr) = (output.open(OutputStream::Stdout)?, output.open(OutputStream::Stderr)?);
        Ok(Streams { stdin: None, stdout: stdout.into(), stderr: stderr.into() })
    };
    let streams = streams().map_err(failed("the output of a replica cannot be opened"))?;
    match spawn::spawn(launching, streams, shared.boot.clone()).await {
        Ok(spawned) => Ok(Started::Process(spawned)),
        Err(cause) => match refusal(&cause) {
            Some(exit) => {
                let reason = format!("cannot run `{program}`: {cause}");
                output.complain(&reason).map_err(failed("the output of a replica cannot be written"))?;
                Ok(Started::Refused(exit))
            }
            None => Err(failed(format!("`{program}` cannot be started"))(cause)),
        },
    }
}

/// How a shell would report that a program cannot be run.
fn refusal(cause: &io::Error) -> Option<Exit> {
    match cause.kind() {
        io::ErrorKind::NotFound => Some(Exit::Code(127)),
        _ if cause.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => Some(Exit::Code(126)),
        io::ErrorKind::PermissionDenied => Some(Exit::Code(126)),
        _ => None,
    }
}

/// Whether a process of a replica listens on its address.
pub(super) async fn listens(marks: &Marks, leader: &Identity, address: Option<SocketAddr>) -> Result<bool> {
    let Some(address) = address else { return Ok(false) };
    Ok(listeners(marks, leader).await?.into_iter().any(|bound| sockets::serves(bound, address)))
}

/// The addresses on which the processes of a replica listen.
pub(super) async fn listeners(marks: &Marks, leader: &Identity) -> Result<Vec<SocketAddr>> {
    let (marks, leader) = (marks.clone(), leader.clone());
    blocking(move || Ok(sockets::listeners(&kin::find(&marks, Some(&leader))))).await
}
