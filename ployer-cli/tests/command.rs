//! The command: the real program, as a person runs it: what it prints, how it ends, what it leaves running.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// The program with a data directory of its own.
fn ployer(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ployer"));
    command.env("XDG_DATA_HOME", data).env("HOME", data);
    command
}

fn output(data: &Path, args: &[&str]) -> Output {
    ployer(data).args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running `ployer up`; killed if a test ends before it.
struct Up {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Up {
    fn start(data: &Path, args: &[&str]) -> Self {
        let mut command = ployer(data);
        let command = command.arg("up").args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// The next line of data.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Asks it to end as `signal` does; its exit code and what it told.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let code = self.child.wait().unwrap().code();
        let mut told = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        (code, told)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The answer to a request as it came.
fn get(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn site() -> tempfile::TempDir {
    let site = tempfile::tempdir().unwrap();
    std::fs::write(site.path().join("index.html"), "hello").unwrap();
    site
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The port at the end of `http://127.0.0.1:8080/`.
fn port_of(url: &str) -> u16 {
    url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn a_folder_is_served_until_either_signal_asks_for_the_end() {
    for signal in ["-INT", "-TERM"] {
        let (data, site) = (tempfile::tempdir().unwrap(), site());
        let port = free_port().to_string();

        let mut up = Up::start(data.path(), &[site.path().to_str().unwrap(), "--name", "shop", "--port", &port]);
        let (named, bare) = (up.line(), up.line());
        let answer = get(port_of(&bare), "GET /");
        let (code, told) = up.end(signal);

        assert!(named.starts_with("http://shop.localhost:"), "{named}");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        assert_eq!(code, Some(0), "{told}");
        assert!(!told.contains("fatal:"), "{told}");
    }
}

#[test]
fn a_second_one_on_the_same_data_says_who_holds_it() {
    let (data, site) = (tempfile::tempdir().unwrap(), site());
    let site = site.path().to_str().unwrap();
    let mut up = Up::start(data.path(), &[site, "--port", "0"]);
    up.line();

    let second = output(data.path(), &["up", site, "--port", "0"]);

    assert_eq!(second.status.code(), Some(9));
    let told = stderr(&second);
    assert!(told.contains(&format!("process {}", up.child.id())) && told.contains("hint: "), "{told}");
}

#[test]
fn a_taken_port_gives_way_to_the_next_and_is_told() {
    let (data, site) = (tempfile::tempdir().unwrap(), site());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let held = TcpListener::bind(("127.0.0.1", taken)).unwrap();

    let mut up = Up::start(data.path(), &[site.path().to_str().unwrap(), "--port", &taken.to_string()]);
    let (_, bare) = (up.line(), up.line());
    let (_, told) = up.end("-INT");

    assert_ne!(port_of(&bare), taken);
    assert!(told.contains(&format!("port {taken} is taken")), "{told}");
    drop(held);
}

#[test]
fn an_application_that_has_not_changed_is_not_built_again() {
    let (data, site) = (tempfile::tempdir().unwrap(), site());
    let args = [site.path().to_str().unwrap(), "--port", "0"];
    let mut first = Up::start(data.path(), &args);
    first.line();
    first.end("-INT");

    let mut second = Up::start(data.path(), &args);
    second.line();
    let (code, told) = second.end("-INT");

    assert_eq!(code, Some(0));
    assert!(told.contains("nothing to build"), "{told}");
}

#[test]
fn bad_input_ends_with_the_exit_code_of_its_kind() {
    let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("ployer.toml"), "health = \"/x\"\nport = 99999\n").unwrap();
    let (broken, home) = (folder.path().to_str().unwrap(), data.path().to_str().unwrap());
    let table: [(&[&str], i32, &str); 8] = [
        (&["nonsense"], 2, "unrecognized subcommand"),
        (&["up", "--port", "99999"], 2, "99999 is not in"),
        (&["up", "--name", "Not A Name"], 2, "invalid value"),
        (&["up", "a", "b"], 2, "unexpected argument"),
        (&["up", "/no/such/folder"], 3, "does not exist"),
        (&["up", broken, "--port", "0"], 1, "line 2, column 8"),
        (&["up", home, "--port", "0"], 1, "home directory"),
        (&["up", broken, "--data-dir", "/proc/none", "--port", "0"], 7, "hint: "),
    ];

    for (args, code, words) in table {
        let ended = output(data.path(), args);

        assert_eq!(ended.status.code(), Some(code), "{args:?}: {}", stderr(&ended));
        assert!(stderr(&ended).contains(words), "{args:?}: {}", stderr(&ended));
        assert!(ended.stdout.is_empty(), "{args:?} has data");
    }
}

#[test]
fn help_is_data_and_reads_as_it_was_written() {
    let data = tempfile::tempdir().unwrap();

    let (help, up) = (output(data.path(), &["--help"]), output(data.path(), &["up", "--help"]));

    let (help, up) = (String::from_utf8(help.stdout).unwrap(), String::from_utf8(up.stdout).unwrap());
    assert!(["--data-dir", "--yes", "--port", "Examples:"].iter().all(|word| up.contains(word)), "{up}");
    insta::assert_snapshot!(help, @r"
    Deploys applications from Git onto this machine: builds, starts, waits until they are ready, then moves requests

    Usage: ployer [OPTIONS] [COMMAND]

    Commands:
      up       Deploys a folder or a repository and serves it until Ctrl-C
      start    Starts the server: the HTTP API, the engine and the proxy
      version  Prints the version

    Options:
      -v, --verbose...  Tells on stderr what happens inside; twice for more
      -h, --help        Print help
      -V, --version     Print version

    Examples:
      ployer up                                    deploys the current folder and serves it
      ployer up https://github.com/you/shop.git    deploys a repository
      ployer start --port 3001                     starts the server

    Exit codes:
      0 done                  6 not allowed            11 no engine runs
      1 a deployment failed   7 something is away      12 it took too long
      2 bad input             8 cannot be done here    13 a limit was reached
      3 does not exist        9 something else runs    70 a defect
      4 exists already       10 no longer kept
    ");
}

#[test]
fn the_server_answers_for_its_health_and_refuses_what_it_does_not_have() {
    let data = tempfile::tempdir().unwrap();
    let port = free_port();
    let args = ["start", "--host", "127.0.0.1", "--proxy-port", "0", "--port", &port.to_string()];
    let mut server = ployer(data.path()).args(args).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(server.stderr.take().unwrap()).lines();
    told.next().unwrap().unwrap();

    let health = get(port, "GET /api/v1/health");
    let missing = get(port, "GET /nothing");
    let method = get(port, "DELETE /api/v1/health");
    server.kill().unwrap();
    server.wait().unwrap();

    assert!(["HTTP/1.1 200", "HTTP/1.1 503"].iter().any(|status| health.starts_with(status)), "{health}");
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("application/problem+json"), "{missing}");
    assert!(method.starts_with("HTTP/1.1 405"), "{method}");
}
