//! Memory: the resident set of the idle server with ten static applications, and what each further one costs.
//!
//! Measured is the program as it is shipped (profile `dist`): `ployer start` on a data directory whose applications
//! were deployed before, each asked once, then left alone.
#![allow(clippy::expect_used, reason = "a bench that cannot be set up has no result")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ployer_core::Ployer;
use ployer_core::config::Settings;
use ployer_core::model::NewApplication;

const FEW: usize = 10;
const MANY: usize = 110;
const IDLE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let program = build();
    let folder = tempfile::tempdir().expect("a folder");
    let size = std::fs::metadata(&program).expect("the program").len();
    println!("memory: profile `dist`, the program has {:.1} MB", size as f64 / 1e6);
    println!("{:<44} {:>10} {:>12}", "case", "all MB", "anonymous MB");
    let mut seen = Vec::new();
    for count in [FEW, MANY] {
        deploy(folder.path(), count).await;
        let resident = measure(&program, folder.path(), count);
        println!("{:<44} {:>10.2} {:>12.2}", format!("idle, {count} applications"), mb(resident.all), mb(resident.own));
        seen.push(resident);
    }
    let per_application = seen[1].all.saturating_sub(seen[0].all) / (MANY - FEW) as u64;
    println!("{:<44} {:>7} kB", "per further application", per_application / 1000);
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").expect("cargo runs this bench");
    let built = Command::new(cargo).args(["build", "--profile", "dist", "--package", "ployer-cli"]).status();
    assert!(built.is_ok_and(|status| status.success()), "the program is built");
    let this = std::env::current_exe().expect("this program");
    let target = this.ancestors().nth(3).expect("target/release/deps/memory");
    target.join("dist/ployer")
}

/// Makes sure that there are `count` static applications.
async fn deploy(folder: &Path, count: usize) {
    let mut settings = Settings::default();
    settings.source.allow_local = true;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let builder = Ployer::builder().data_dir(folder.join("data")).settings(settings).listener(listener);
    let ployer = builder.build().await.expect("an installation");
    let mut engine = ployer.spawn();
    engine.ready().await.expect("an engine");
    let there = ployer.applications().list().await.expect("a list").len();
    for number in there..count {
        let site = folder.join(format!("site-{number}"));
        std::fs::create_dir_all(&site).expect("a folder");
        std::fs::write(site.join("index.html"), format!("<p>site {number}")).expect("a page");
        let git_url = site.to_str().and_then(|path| path.parse().ok());
        let name = format!("site-{number}").parse().expect("a name");
        let made = ployer.applications().create(NewApplication { git_url, ..NewApplication::new(name) }).await;
        let deployment = ployer.deployments().start(made.expect("an application").id).await.expect("a deployment");
        deployment.wait().await.expect("it goes well");
    }
    engine.stop().await.expect("an end");
}

/// What a process keeps in memory, in bytes.
struct Resident {
    all: u64,
    /// Without pages of files.
    own: u64,
}

fn measure(program: &Path, folder: &Path, count: usize) -> Resident {
    let [api, proxy] = [free_port(), free_port()];
    let child = Command::new(program)
        .args(["start", "--host", "127.0.0.1", "--port", &api.to_string(), "--proxy-port", &proxy.to_string()])
        .arg("--data-dir")
        .arg(folder.join("data"))
        .stderr(Stdio::null())
        .spawn();
    let server = Server(child.expect("the server"));
    for number in 0..count {
        until_serves(proxy, number);
    }
    std::thread::sleep(IDLE);
    server.resident()
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("a port").port()
}

struct Server(Child);

impl Server {
    fn resident(&self) -> Resident {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let read = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
            let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
            kib * 1024
        };
        Resident { all: read("VmRSS:"), own: read("RssAnon:") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ended");
    }
}

fn until_serves(port: u16, number: usize) {
    let began = Instant::now();
    while !serves(port, number) {
        assert!(began.elapsed() < PATIENCE, "site {number} is not served");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn serves(port: u16, number: usize) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        write!(stream, "GET / HTTP/1.1\r\nhost: site-{number}.localhost\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    };
    ask().is_some()
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
