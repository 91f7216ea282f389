//! Serving: the listener of the API, with a limit on connections, heads and time, and an end in good order.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections at once.
const CONNECTIONS_MAX: usize = 2_000;

/// How long the head of a request may take, also on a connection that is kept open.
const HEAD: Duration = Duration::from_secs(30);

/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long requests under way may take once the end was asked for.
const FAREWELL: Duration = Duration::from_secs(5);

/// The pause after an error of the listener: no file handles are left, say.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `until` is ready; then requests under way get five seconds. All of its tasks end with it.
pub async fn serve(listener: TcpListener, router: Router, until: impl Future<Output = ()>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(until);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut until => break,
            accepted = accept(&listener, &free) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Some((stream, permit)) = accepted else { continue };
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(permit);
        });
    }
    drop(listener);
    if timeout(FAREWELL, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests that took longer than {FAREWELL:?} were cut off");
    }
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, free: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(free).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!("a connection was not accepted: {error}");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::*;

    async fn text(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        timeout(Duration::from_secs(10), stream.read_to_string(&mut text)).await.expect("an end in time").unwrap();
        text
    }

    #[tokio::test]
    async fn a_request_under_way_is_answered_after_the_end_was_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (entered, begun) = oneshot::channel();
        let (go_on, gate) = oneshot::channel::<()>();
        let meet = Arc::new(std::sync::Mutex::new(Some((entered, gate))));
        let router = Router::new().route(
            "/",
            get(move || async move {
                let (entered, gate) = meet.lock().unwrap().take().unwrap();
                entered.send(()).unwrap();
                gate.await.unwrap();
                "done"
            }),
        );
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(serve(listener, router, async { stopped.await.unwrap() }));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        begun.await.unwrap();

        stop.send(()).unwrap();
        go_on.send(()).unwrap();

        assert!(text(&mut stream).await.ends_with("done"));
        timeout(Duration::from_secs(10), serving).await.expect("it ends").unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_no_head_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, Router::new(), std::future::pending()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();

        let mut rest = Vec::new();
        let ended = timeout(HEAD * 2, stream.read_to_end(&mut rest)).await;

        assert!(ended.is_ok(), "the connection was closed");
        serving.abort();
    }
}
