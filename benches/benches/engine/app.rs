//! The application: the least that starts, listens and says which version it is. The same program runs bare and
//! deployed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The file that says which version it is.
const VERSION: &str = "version";

/// How often an address is asked that does not answer yet.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the process does.
pub(crate) fn serve() {
    let version = std::fs::read_to_string(VERSION).expect("a version");
    let port = std::env::var("PORT").expect("a port").parse().expect("a number");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    for stream in listener.incoming() {
        let version = version.clone();
        std::thread::spawn(move || answer(stream.ok()?, &version).ok());
    }
}

fn answer(mut stream: TcpStream, version: &str) -> std::io::Result<()> {
    let mut head = [0; 4096];
    while stream.read(&mut head)? > 0 {
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{version}", version.len())?;
    }
    Ok(())
}

/// The files of its repository.
pub(crate) fn files(version: &str) -> Vec<(&'static str, String)> {
    let program = std::env::current_exe().expect("this program");
    let procfile = format!("web: {} role:app\n", program.display());
    vec![("Procfile", procfile), (VERSION, version.to_owned())]
}

/// How long a bare process takes from its start to the first answer.
pub(crate) fn start_bare(folder: &Path) -> Duration {
    std::fs::write(folder.join(VERSION), "bare").expect("a file");
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("a port").port();
    let began = Instant::now();
    let program = std::env::current_exe().expect("this program");
    let child = Command::new(program).arg("role:app").env("PORT", port.to_string()).current_dir(folder).spawn();
    let mut child = Running(child.expect("a process"));
    until_answers((Ipv4Addr::LOCALHOST, port).into(), "bare", "bare");
    let took = began.elapsed();
    child.end();
    took
}

struct Running(Child);

impl Running {
    fn end(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ended");
    }
}

/// Asks until that version answers.
pub(crate) fn until_answers(address: SocketAddr, host: &str, version: &str) {
    let began = Instant::now();
    while ask(address, host).is_none_or(|answer| answer != version) {
        assert!(began.elapsed() < PATIENCE, "{version} does not answer");
        std::thread::sleep(ASK_EVERY);
    }
}

fn ask(address: SocketAddr, host: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    answer.starts_with("HTTP/1.1 200").then(|| answer.rsplit_once("\r\n\r\n").map(|(_, body)| body.to_owned()))?
}
