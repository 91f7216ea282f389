//! Smart HTTP: `git http-backend` behind a small server, which can also misbehave on purpose.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use ployer_core::model::GitUrl;

/// An HTTP server over a folder of repositories.
///
/// Besides the repositories there are the paths `/redirects`, `/login`, `/broken`, `/page` and `/silent`.
#[derive(Debug)]
pub struct HttpServer {
    port: u16,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Serves the repositories of `folder`.
    pub fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (ended, folder) = (Arc::new(AtomicBool::new(false)), folder.to_owned());
        let end = ended.clone();
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let (connection, folder) = (connection.unwrap(), folder.clone());
                // A client that hangs up is no failure of the test.
                std::thread::spawn(move || serve(&connection, &folder).ok());
            }
        });
        Self { port, ended, thread: Some(thread) }
    }

    /// The address of a repository, or of a misbehaviour.
    pub fn url(&self, repository: &str) -> GitUrl {
        format!("http://127.0.0.1:{}/{repository}", self.port).parse().unwrap()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        TcpStream::connect(("127.0.0.1", self.port)).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(connection: &TcpStream) -> std::io::Result<Self> {
        let mut reader = BufReader::new(connection);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let mut words = first.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut request = Self { method, path: path.to_owned(), query: query.to_owned(), headers, body: Vec::new() };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        reader.take(length).read_to_end(&mut request.body)?;
        Ok(request)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn serve(mut connection: &TcpStream, folder: &Path) -> std::io::Result<()> {
    let request = Request::read(connection)?;
    let first = request.path.split('/').nth(1).unwrap_or_default();
    match first {
        "redirects" => {
            connection.write_all(b"HTTP/1.1 301 Moved\r\nLocation: /shop/info/refs\r\nContent-Length: 0\r\n\r\n")
        }
        "login" => connection.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
        ),
        "broken" => connection.write_all(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n"),
        "page" => connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n<html>\n<p>hello</html>\n"),
        // Ends when the client has given up.
        "silent" => connection.read(&mut [0]).map(drop),
        _ => connection.write_all(&answer(&request, folder)?),
    }
}

/// Asks `git http-backend`, which speaks CGI.
fn answer(request: &Request, folder: &Path) -> std::io::Result<Vec<u8>> {
    let mut backend = Command::new("git")
        .args(["-c", "safe.directory=*", "http-backend"])
        .env("GIT_PROJECT_ROOT", PathBuf::from(folder))
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", request.header("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", request.header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    backend.stdin.take().unwrap().write_all(&request.body)?;
    let output = backend.wait_with_output()?.stdout;
    let status = match output.strip_prefix(b"Status: ") {
        Some(rest) => String::from_utf8_lossy(&rest[..rest.iter().position(|b| *b == b'\r').unwrap_or(0)]).into_owned(),
        None => "200 OK".to_owned(),
    };
    let mut answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n").into_bytes();
    answer.extend(output);
    Ok(answer)
}
