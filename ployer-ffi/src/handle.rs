//! The handle: an open installation with its engine, and the deployments that were started through it.

use std::ffi::{CString, c_char};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;

use ployer_core::config::Settings;
use ployer_core::model::{AppName, ApplicationId, GitUrl, NewApplication, UpdateApplication};
use ployer_core::{DeploymentHandle, EngineHandle, Error, ErrorKind, Ployer, Result};
use tokio::runtime::{Builder, Runtime};

use crate::error::{Failure, Kind};
use crate::guard::{borrowed, guarded, output, text};
use crate::object::Mark;

/// An open installation and its engine. Freed with ployer_free().
#[derive(Debug)]
#[repr(C)]
pub struct Handle {
    mark: Mark,
    open: Open,
}

#[derive(Debug)]
struct Open {
    ployer: Ployer,
    engine: Option<EngineHandle>,
    runtime: Runtime,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            // Whoever frees it wants it to end; why it had ended before is of no use to them.
            drop(self.runtime.block_on(engine.stop()));
        }
    }
}

/// A deployment that was started. Freed with ployer_free(), before its ployer_t.
#[derive(Debug)]
#[repr(C)]
pub struct Deployment {
    mark: Mark,
    handle: DeploymentHandle,
    runtime: tokio::runtime::Handle,
    url: OnceLock<CString>,
}

/// Opens a data directory, made on first use, and starts the engine: what should run is run from now on.
///
/// \param data_dir  borrowed; a path.
/// \param port      where applications are served on the loopback interface; 0 takes any free one.
/// \param out       written only on success; the caller owns it.
/// \param error     written only on failure; the caller owns it. May be NULL.
/// \return PLOYER_OK, or PLOYER_CONFLICT if another engine runs on this data, PLOYER_UNAVAILABLE if the port is taken or
///         the directory cannot be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ployer_open(
    data_dir: *const c_char,
    port: u16,
    out: *mut *mut Handle,
    error: *mut *mut Failure,
) -> Kind {
    guarded(error, || {
        let (data_dir, out) = (text(data_dir, "data_dir")?, output(out, "out")?);
        let open = open(data_dir, port)?;
        *out = Box::into_raw(Box::new(Handle { mark: Mark::HANDLE, open }));
        Ok(())
    })
}

/// Starts a deployment of an application, which is made on first use, and returns at once.
///
/// \param ployer  borrowed; any thread may use it.
/// \param name    borrowed; the application's name: it becomes a host name.
/// \param source  borrowed; the address of a Git repository, or an absolute path of this machine.
/// \param out     written only on success; the caller owns it.
/// \param error   written only on failure; the caller owns it. May be NULL.
/// \return PLOYER_OK, or PLOYER_INVALID if an argument is not acceptable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ployer_deploy(
    ployer: *const Handle,
    name: *const c_char,
    source: *const c_char,
    out: *mut *mut Deployment,
    error: *mut *mut Failure,
) -> Kind {
    guarded(error, || {
        let Open { ployer, runtime, .. } = &borrowed(ployer, "ployer")?.open;
        let (name, source, out) = (text(name, "name")?.parse()?, text(source, "source")?.parse()?, output(out, "out")?);
        let handle = runtime.block_on(deploy(ployer, name, source))?;
        let (runtime, url) = (runtime.handle().clone(), OnceLock::new());
        *out = Box::into_raw(Box::new(Deployment { mark: Mark::DEPLOYMENT, handle, runtime, url }));
        Ok(())
    })
}

/// Waits until a deployment serves, or has failed. A deployment that fails leaves the version before it serving.
///
/// \param deployment  borrowed; any thread may use it.
/// \param url         written only on success; borrowed from the deployment and freed with it. Empty for an
///                    application that takes no requests.
/// \param error       written only on failure; the caller owns it. May be NULL.
/// \return PLOYER_OK, or PLOYER_FAILED with the cause, the last output and the next step as text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ployer_wait(
    deployment: *const Deployment,
    url: *mut *const c_char,
    error: *mut *mut Failure,
) -> Kind {
    guarded(error, || {
        let (deployment, url) = (borrowed(deployment, "deployment")?, output(url, "url")?);
        let deployed = deployment.runtime.block_on(deployment.handle.wait())?;
        let text = CString::new(deployed.url()).map_err(|error| Error::internal("the address has a NUL", error))?;
        *url = deployment.url.get_or_init(|| text).as_ptr();
        Ok(())
    })
}

fn open(data_dir: &str, port: u16) -> Result<Open> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("port {port} cannot be listened on")).with_source(error)
    })?;
    let mut settings = Settings { fallback_single: true, ..Settings::default() };
    settings.source.allow_local = true;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal("the system gives no threads", error))?;
    let builder = Ployer::builder().data_dir(data_dir).settings(settings).listener(listener);
    let (ployer, engine) = runtime.block_on(async {
        let ployer = builder.build().await?;
        let mut engine = ployer.spawn();
        engine.ready().await?;
        Ok::<_, Error>((ployer, engine))
    })?;
    Ok(Open { ployer, engine: Some(engine), runtime })
}

async fn deploy(ployer: &Ployer, name: AppName, source: GitUrl) -> Result<DeploymentHandle> {
    let application = application(ployer, name, source).await?;
    ployer.deployments().start(application).await
}

/// The application of that name with that source, made on first use.
async fn application(ployer: &Ployer, name: AppName, source: GitUrl) -> Result<ApplicationId> {
    match ployer.applications().named(&name).await {
        Ok(found) => {
            let update = UpdateApplication { git_url: Some(source), ..UpdateApplication::default() };
            Ok(ployer.applications().update(found.application.id, update).await?.id)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let new = NewApplication { git_url: Some(source), ..NewApplication::new(name) };
            Ok(ployer.applications().create(new).await?.id)
        }
        Err(error) => Err(error),
    }
}
