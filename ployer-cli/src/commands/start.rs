//! `ployer start`: the server: the HTTP API, the engine and the proxy, until it is asked to end.
//!
//! It listens first and says `degraded` until the installation is open. Applications' processes go on when it ends.

use std::process::ExitCode;

use ployer_core::{Error, Ployer, Result};
use ployer_http::Health;
use tokio::sync::watch;

use crate::args::StartArgs;
use crate::signals::Signals;
use crate::{context, show};

/// Serves until SIGTERM or Ctrl-C.
pub(super) async fn run(args: StartArgs) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let api = context::listen_exactly(args.host, args.port)?;
    let (stop, _) = watch::channel(false);
    let health = Health::new();
    let serving = ployer_http::serve(api, ployer_http::router(health.clone()), asked(&stop));
    show::note(&format!("listening on http://{}:{}", args.host, args.port));

    let working = async {
        let ended = work(&args, &health, &stop, &mut signals).await;
        stop.send_replace(true);
        ended
    };
    let ((), ended) = tokio::join!(serving, working);
    ended.map(|()| ExitCode::SUCCESS)
}

/// Opens the installation and runs its engine until the program is asked to end.
async fn work(args: &StartArgs, health: &Health, stop: &watch::Sender<bool>, signals: &mut Signals) -> Result<()> {
    let ployer = tokio::select! {
        opened = open(args) => opened?,
        () = signals.end() => return Ok(()),
    };
    let mut engine = ployer.spawn();
    let running = async {
        engine.ready().await?;
        engine.ended().await.and(Err(Error::failed("the engine ended by itself")))
    };
    let ended = tokio::select! {
        ended = running => ended,
        () = health.watch(&ployer, asked(stop)) => Ok(()),
        () = signals.end() => Ok(()),
    };
    show::note("stopping; applications go on");
    ended.and(engine.stop().await)
}

async fn open(args: &StartArgs) -> Result<Ployer> {
    let listener = context::listen(args.host, args.proxy_port)?;
    if let Ok(address) = listener.local_addr() {
        show::note(&format!("applications are served on port {}", address.port()));
    }
    let builder = Ployer::builder().data_dir(context::data_dir(args.data.clone())?);
    builder.listener(listener).environment(context::inherited()).build().await
}

/// Ready once `stop` says so.
fn asked(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + use<> {
    let mut stop = stop.subscribe();
    async move {
        // An error means that nobody is left who could ask: the end as well.
        drop(stop.wait_for(|stop| *stop).await);
    }
}
