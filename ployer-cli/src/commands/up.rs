//! `ployer up`: deploys a folder or a repository and serves it until it is asked to end.
//!
//! The whole of Ployer in this process, over one data directory. At the end the engine stops in good order, then the
//! applications' processes: the next `up` starts them again.

use std::future::{Future, pending};
use std::process::ExitCode;

use ployer_core::config::Settings;
use ployer_core::model::{ApplicationStatus, GitUrl, NewApplication, UpdateApplication};
use ployer_core::{ApplicationDetails, Deployed, EngineHandle, Error, Ployer, Result};

use super::target;
use crate::args::UpArgs;
use crate::signals::Signals;
use crate::{context, show};

/// Deploys, serves, and ends in good order.
pub(super) async fn run(args: UpArgs) -> Result<ExitCode> {
    let url = target::find(&args.target)?;
    let mut signals = Signals::new()?;
    let (ployer, port) = open(&args).await?;
    let mut engine = ployer.spawn();
    engine.ready().await?;
    if args.port != 0 && port != args.port {
        show::note(&format!("port {} is taken, serving on {port}", args.port));
    }

    let ended = serve(&ployer, &mut engine, &mut signals, &url, &args, port).await;

    show::note("stopping the applications");
    engine.stop().await?;
    ployer.stop_applications().await?;
    ended
}

async fn open(args: &UpArgs) -> Result<(Ployer, u16)> {
    let listener = context::listen(args.host, args.port)?;
    let port = listener.local_addr().map_err(|error| Error::internal("the listener has no address", error))?.port();
    let mut settings = Settings { fallback_single: true, ..Settings::default() };
    settings.source.allow_local = true;
    settings.source.allow_large_snapshots = args.yes;
    let builder = Ployer::builder().data_dir(context::data_dir(args.data.clone())?).settings(settings);
    let ployer = builder.listener(listener).environment(context::inherited()).build().await?;
    Ok((ployer, port))
}

async fn serve(
    ployer: &Ployer,
    engine: &mut EngineHandle,
    signals: &mut Signals,
    url: &GitUrl,
    args: &UpArgs,
    port: u16,
) -> Result<ExitCode> {
    let code = match unless_ended(engine, signals, deploy(ployer, url, args)).await {
        Ok(None) => return Ok(ExitCode::SUCCESS),
        Ok(Some(deployed)) => {
            announce(ployer, &deployed, port).await?;
            ExitCode::SUCCESS
        }
        Err(error) if something_serves(ployer).await? => {
            show::note(&show::error::text(&error));
            ExitCode::from(show::error::exit_code(error.kind()))
        }
        Err(error) => return Err(error),
    };
    show::note("press Ctrl-C to stop");
    unless_ended::<()>(engine, signals, pending()).await?;
    Ok(code)
}

/// The outcome of `work`; `None` if the program was asked to end before.
async fn unless_ended<T>(
    engine: &mut EngineHandle,
    signals: &mut Signals,
    work: impl Future<Output = Result<T>>,
) -> Result<Option<T>> {
    tokio::select! {
        done = work => done.map(Some),
        () = signals.end() => Ok(None),
        ended = engine.ended() => Err(ended.err().unwrap_or_else(|| Error::failed("the engine ended by itself"))),
    }
}

async fn deploy(ployer: &Ployer, url: &GitUrl, args: &UpArgs) -> Result<Deployed> {
    let application = application(ployer, url, args).await?;
    let after = ployer.events().last().await?;
    let deployment = ployer.deployments().start(application.application.id).await?;
    show::note(&format!("deploying `{}` from {url}", application.application.name));
    show::progress::follow(ployer, &deployment, after).await
}

/// The application of that address, made on first use.
async fn application(ployer: &Ployer, url: &GitUrl, args: &UpArgs) -> Result<ApplicationDetails> {
    let all = ployer.applications().list().await?;
    let taken = all.iter().map(|other| other.application.name.clone()).collect();
    let found = all.into_iter().find(|other| other.application.git_url.as_ref() == Some(url));
    let Some(found) = found else {
        let name = match &args.name {
            Some(name) => name.clone(),
            None => target::name(url, &taken)?,
        };
        let new =
            NewApplication { git_url: Some(url.clone()), git_branch: args.branch.clone(), ..NewApplication::new(name) };
        let made = ployer.applications().create(new).await?;
        return ployer.applications().get(made.id).await;
    };
    let update =
        UpdateApplication { name: args.name.clone(), git_branch: args.branch.clone(), ..UpdateApplication::default() };
    ployer.applications().update(found.application.id, update).await?;
    ployer.applications().get(found.application.id).await
}

async fn something_serves(ployer: &Ployer) -> Result<bool> {
    let applications = ployer.applications().list().await?;
    Ok(applications.iter().any(|application| application.status == ApplicationStatus::Running))
}

/// Says where the application is, and where the others are.
async fn announce(ployer: &Ployer, deployed: &Deployed, port: u16) -> Result<()> {
    let applications = ployer.applications().list().await?;
    for url in &deployed.urls {
        show::data(url);
    }
    // `*.localhost` does not resolve everywhere; the only application also answers for the bare address.
    if applications.len() == 1 && !deployed.urls.is_empty() {
        show::data(&format!("http://127.0.0.1:{port}/"));
    }
    for other in applications.iter().filter(|other| other.application.id != deployed.deployment.application_id) {
        for url in ployer.applications().urls(other.application.id).await? {
            show::note(&format!("also served: {url}"));
        }
    }
    Ok(())
}
