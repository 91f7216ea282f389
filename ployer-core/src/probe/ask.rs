//! The real probe: asks the runtime who listens, then the replica itself, over a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Check, Probe, Verdict};
use crate::error::Result;
use crate::model::{Replica, RequestPath};
use crate::runtime::ContainerRuntime;

/// A status line is short; whoever sends more before it speaks no HTTP.
const STATUS_BYTES_MAX: usize = 256;

/// Asks replicas over the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkProbe;

#[async_trait]
impl Probe for NetworkProbe {
    async fn probe(&self, runtime: &dyn ContainerRuntime, replica: &Replica, check: &Check) -> Result<Verdict> {
        let Some(address) = replica.address else {
            return Ok(Verdict::NotReady("it has no address to ask".to_owned()));
        };
        if !runtime.listens(&replica.name).await? {
            return Ok(Verdict::NotReady(silence(address, &runtime.listeners(&replica.name).await?)));
        }
        match check {
            Check::Listening => Ok(Verdict::Ready),
            Check::Http { path, timeout } => Ok(ask(address, path, *timeout).await),
        }
    }
}

/// Why nothing can be asked, and where the replica listens instead.
fn silence(address: SocketAddr, others: &[SocketAddr]) -> String {
    let port = address.port();
    match others.iter().find(|other| other.port() == port).or(others.first()) {
        None => format!("nothing listens on port {port}"),
        Some(other) if other.port() == port => {
            format!("nothing listens on {address}, but the replica listens on {other}")
        }
        Some(other) => format!("nothing listens on port {port}, but the replica listens on port {}", other.port()),
    }
}

async fn ask(address: SocketAddr, path: &RequestPath, timeout: Duration) -> Verdict {
    let not_ready = |what: &str| Verdict::NotReady(format!("GET {path} {what}"));
    match tokio::time::timeout(timeout, status(address, path)).await {
        Err(_) => not_ready(&format!("was not answered within {} s", timeout.as_secs_f32())),
        Ok(Err(cause)) => not_ready(&format!("failed: {cause}")),
        Ok(Ok(None)) => not_ready("was answered with something that is no HTTP"),
        Ok(Ok(Some(200..=399))) => Verdict::Ready,
        Ok(Ok(Some(status))) => not_ready(&format!("answered {status}")),
    }
}

/// The status of the answer; `None` if it is no HTTP.
async fn status(address: SocketAddr, path: &RequestPath) -> std::io::Result<Option<u16>> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: ployer-probe\r\naccept: */*\r\nconnection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(STATUS_BYTES_MAX);
    let mut first = connection.take(STATUS_BYTES_MAX as u64);
    while !answer.contains(&b'\n') && first.read_buf(&mut answer).await? > 0 {}
    Ok(parse(&answer))
}

/// `HTTP/1.1 200 OK` and the like.
fn parse(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.1 ").or(line.strip_prefix(b"HTTP/1.0 "))?;
    let code = std::str::from_utf8(rest.get(..3)?).ok()?;
    let ends = rest.get(3).is_none_or(|byte| matches!(byte, b' ' | b'\r'));
    code.parse().ok().filter(|code| ends && (100..1000).contains(code))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::stream::BoxStream;
    use proptest::prelude::*;
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::AddressRange;
    use crate::error::Error;
    use crate::model::{
        Command, Exit, InstanceId, OutputLine, ReplicaName, ReplicaSeen, RuntimeEvent, RuntimeKind, Secret, Stats,
        Workload,
    };
    use crate::runtime::{Capabilities, ExecOutput, LogQuery};

    /// A runtime whose only replica listens where the test says.
    #[derive(Debug, Default)]
    struct Listening(Vec<SocketAddr>, Mutex<Option<SocketAddr>>);

    #[async_trait]
    impl ContainerRuntime for Listening {
        fn capabilities(&self) -> Capabilities {
            Capabilities::new(RuntimeKind::Custom)
        }
        async fn listens(&self, _: &ReplicaName) -> Result<bool> {
            Ok(self.1.lock().unwrap().is_some_and(|address| self.0.contains(&address)))
        }
        async fn listeners(&self, _: &ReplicaName) -> Result<Vec<SocketAddr>> {
            Ok(self.0.clone())
        }
        async fn run(&self, _: &Workload, _: &ReplicaName) -> Result<Exit> {
            Err(Error::unsupported("it"))
        }
        async fn start(&self, _: &Workload, _: &Replica) -> Result<()> {
            Err(Error::unsupported("it"))
        }
        async fn keep_running(&self, _: &ReplicaName) -> Result<()> {
            Err(Error::unsupported("it"))
        }
        async fn stop(&self, _: &ReplicaName, _: Duration) -> Result<()> {
            Err(Error::unsupported("it"))
        }
        async fn remove(&self, _: &ReplicaName) -> Result<()> {
            Err(Error::unsupported("it"))
        }
        async fn list(&self, _: InstanceId) -> Result<Vec<ReplicaSeen>> {
            Err(Error::unsupported("it"))
        }
        async fn free_addresses(&self, _: &AddressRange, _: &[SocketAddr], _: usize) -> Result<Vec<SocketAddr>> {
            Err(Error::unsupported("it"))
        }
        async fn logs(&self, _: &ReplicaName, _: &LogQuery) -> Result<BoxStream<'static, Result<OutputLine>>> {
            Err(Error::unsupported("it"))
        }
        async fn stats(&self, _: &ReplicaName) -> Result<Stats> {
            Err(Error::unsupported("it"))
        }
        async fn exec(&self, _: &ReplicaName, _: &Command, _: Option<Secret>) -> Result<ExecOutput> {
            Err(Error::unsupported("it"))
        }
        async fn events(&self, _: InstanceId) -> Result<BoxStream<'static, RuntimeEvent>> {
            Err(Error::unsupported("it"))
        }
    }

    fn replica(address: Option<SocketAddr>) -> Replica {
        Replica { name: "shop-1".parse().unwrap(), index: 1, address }
    }

    async fn probed(listening: &[&str], wanted: &str, check: &Check) -> Verdict {
        let wanted = wanted.parse().unwrap();
        let listening = listening.iter().map(|address| address.parse().unwrap()).collect();
        let runtime = Listening(listening, Mutex::new(Some(wanted)));
        NetworkProbe.probe(&runtime, &replica(Some(wanted)), check).await.unwrap()
    }

    /// A replica that takes one request and answers with `answer`.
    async fn answering(answer: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let read = connection.read(&mut request).await.unwrap();
            connection.write_all(answer).await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        (address, asked)
    }

    fn http(timeout: Duration) -> Check {
        Check::Http { path: "/health".parse().unwrap(), timeout }
    }

    #[tokio::test]
    async fn a_replica_that_listens_nowhere_or_elsewhere_is_told_apart() {
        let nowhere = probed(&[], "127.0.0.1:20001", &Check::Listening).await;
        let elsewhere = probed(&["127.0.0.1:8080"], "127.0.0.1:20001", &Check::Listening).await;
        let other_host = probed(&["127.0.0.1:8080", "[::1]:20001"], "127.0.0.1:20001", &Check::Listening).await;

        let not_ready = |why: &str| Verdict::NotReady(why.to_owned());
        assert_eq!(nowhere, not_ready("nothing listens on port 20001"));
        assert_eq!(elsewhere, not_ready("nothing listens on port 20001, but the replica listens on port 8080"));
        assert_eq!(other_host, not_ready("nothing listens on 127.0.0.1:20001, but the replica listens on [::1]:20001"));
    }

    #[tokio::test]
    async fn a_stranger_that_answers_makes_no_replica_ready() {
        let (address, _asked) = answering(b"HTTP/1.1 200 OK\r\n\r\n").await;

        let verdict = probed(&[], &address.to_string(), &http(Duration::from_secs(5))).await;

        assert!(matches!(verdict, Verdict::NotReady(_)), "{verdict:?}");
    }

    #[tokio::test]
    async fn the_path_is_asked_for_and_the_status_decides() {
        for (answer, expected) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], Verdict::Ready),
            (b"HTTP/1.0 204 No Content\r\n\r\n", Verdict::Ready),
            (b"HTTP/1.1 302 Found\r\n\r\n", Verdict::Ready),
            (b"HTTP/1.1 404\r\n\r\n", Verdict::NotReady("GET /health answered 404".to_owned())),
            (b"HTTP/1.1 500 Oh\r\n\r\n", Verdict::NotReady("GET /health answered 500".to_owned())),
            (b"SSH-2.0-x\r\n", Verdict::NotReady("GET /health was answered with something that is no HTTP".to_owned())),
            (b"", Verdict::NotReady("GET /health was answered with something that is no HTTP".to_owned())),
        ] {
            let (address, asked) = answering(answer).await;
            let text = address.to_string();

            let verdict = probed(&[&text], &text, &http(Duration::from_secs(5))).await;

            assert_eq!(verdict, expected);
            let request = asked.await.unwrap();
            assert!(request.starts_with("GET /health HTTP/1.1\r\nhost: "), "{request}");
            assert!(request.ends_with("\r\n\r\n"), "{request}");
        }
    }

    #[tokio::test]
    async fn a_replica_that_is_silent_is_not_ready_when_its_time_is_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let text = listener.local_addr().unwrap().to_string();

        let verdict = probed(&[&text], &text, &http(Duration::from_millis(50))).await;

        assert_eq!(verdict, Verdict::NotReady("GET /health was not answered within 0.05 s".to_owned()));
    }

    proptest! {
        #[test]
        fn any_answer_is_a_status_or_none(answer in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(status) = parse(&answer) {
                prop_assert!((100..1000).contains(&status));
            }
        }
    }
}
