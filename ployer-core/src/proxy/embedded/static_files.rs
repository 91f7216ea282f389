//! Static files: what a release without processes serves.
//!
//! A path is decoded once and taken apart; a part that begins with a dot, or that could mean anything but a name, is
//! refused before a file is touched. What is then opened must lie in the root, whatever links lead there: the kernel
//! checks that where it can, else the resolved path is compared. Files are read by helper threads, never by those that
//! serve.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, LOCATION,
    RANGE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::task::{JoinHandle, spawn_blocking};

use super::body::AnswerBody;
use super::call::Call;
use super::pages::Problem;
use super::route::{Destination, Entry};
use super::traffic::Outcome;
use super::worker::{BUFFER_BYTES, Worker};
use crate::model::{AnsweredBy, ReleaseId};

const INDEX: &str = "index.html";

/// The one folder of a site whose name may begin with a dot (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// Answers a request from files.
pub(super) async fn serve(worker: &Worker, entry: &Entry, call: Call) -> Response<AnswerBody> {
    let Destination::Static { release, root } = &entry.destination else { return call.about.refuse(&Problem::NoRoute) };
    let asked = call.about.asked.is_some();
    match answer(*release, root, &call.head).await {
        Ok(mut answer) => {
            worker.count(entry, asked, Outcome::Served);
            call.about.sign(&mut answer, &AnsweredBy::Static(*release));
            answer
        }
        Err(problem @ (Problem::NoFile | Problem::ReadOnly)) => {
            worker.count(entry, asked, Outcome::Served);
            let mut answer = problem.answer(call.about.reader);
            call.about.sign(&mut answer, &AnsweredBy::Static(*release));
            answer
        }
        Err(problem) => {
            worker.count(entry, asked, Outcome::Failed);
            call.about.refuse(&problem)
        }
    }
}

async fn answer(release: ReleaseId, root: &Path, head: &Parts) -> Result<Response<AnswerBody>, Problem> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return Err(Problem::ReadOnly);
    }
    let path = head.uri.path();
    let inside = resolve(path);
    let (root, is_folder) = (root.to_owned(), path.ends_with('/'));
    let found = spawn_blocking(move || find(&root, inside, is_folder)).await;
    match found.map_err(io::Error::other).and_then(|found| found) {
        Ok(Found::File(opened)) => Ok(present(release, opened, head)),
        Ok(Found::Folder) => Ok(with_slash(head)),
        Ok(Found::Nothing) => Err(Problem::NoFile),
        Err(error) => {
            tracing::warn!(%release, %error, "the files of a release cannot be read");
            Err(Problem::NoUpstream)
        }
    }
}

/// The path below the root that a request names; `None` where it can name nothing that is served.
fn resolve(path: &str) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let part = percent_decode_str(part).decode_utf8().ok()?;
        let is_name = !part.contains(['/', '\\', '\0']) && (!part.starts_with('.') || part == WELL_KNOWN);
        if !is_name {
            return None;
        }
        inside.push(&*part);
    }
    Some(inside)
}

/// A file that is served.
struct Opened {
    file: File,
    path: PathBuf,
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

enum Found {
    File(Opened),
    Folder,
    Nothing,
}

impl Opened {
    fn new(file: File, path: PathBuf, data: &Metadata) -> Self {
        Self { file, path, length: data.len(), modified: (data.mtime(), data.mtime_nsec()) }
    }

    /// A tag that differs wherever the file may: the files of a release do not change, but those of two releases may
    /// be of the same age and length.
    fn tag(&self, release: ReleaseId) -> String {
        let (seconds, nanoseconds) = self.modified;
        format!("\"{}-{seconds:x}-{nanoseconds:x}-{:x}\"", release.as_uuid().simple(), self.length)
    }
}

/// Opens what the path names; an error where the root itself cannot be read.
fn find(root: &Path, inside: Option<PathBuf>, is_folder: bool) -> io::Result<Found> {
    let folder = File::open(root)?;
    let Some(inside) = inside else { return Ok(Found::Nothing) };
    let inside = if is_folder { inside.join(INDEX) } else { inside };
    let Ok(file) = open_beneath(&folder, root, &inside) else { return Ok(Found::Nothing) };
    let data = file.metadata()?;
    Ok(match () {
        () if data.is_file() => Found::File(Opened::new(file, inside, &data)),
        () if data.is_dir() && !is_folder && open_beneath(&folder, root, &inside.join(INDEX)).is_ok() => Found::Folder,
        () => Found::Nothing,
    })
}

/// Opens a file that lies in the root, whatever links lead to it.
fn open_beneath(folder: &File, root: &Path, inside: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    match openat2(folder, inside) {
        // An old kernel, or a sandbox that forbids the call.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {}
        opened => return Ok(File::from(opened?)),
    }
    open_resolved(root, inside)
}

#[cfg(target_os = "linux")]
fn openat2(folder: &File, inside: &Path) -> rustix::io::Result<std::os::fd::OwnedFd> {
    use rustix::fs::{Mode, OFlags, ResolveFlags};
    // The folder itself is no name that a path may end with, but `.` is it.
    let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
    // A named pipe must not make the thread wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::openat2(folder, inside, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
}

fn open_resolved(root: &Path, inside: &Path) -> io::Result<File> {
    let path = root.join(inside).canonicalize()?;
    if !path.starts_with(root.canonicalize()?) || !(path.is_file() || path.is_dir()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    File::open(path)
}

/// The answer that a file gives.
fn present(release: ReleaseId, opened: Opened, head: &Parts) -> Response<AnswerBody> {
    let tag = opened.tag(release);
    let mut answer = Response::new(AnswerBody::empty());
    let headers = answer.headers_mut();
    // Whoever has the file asks again before using it, so that a new release is seen at once.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    if is_known(&head.headers, &tag) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        return answer;
    }
    headers.insert(CONTENT_TYPE, content_type(&opened.path));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let length = opened.length;
    let part = match range(&head.headers, &tag, length) {
        Wanted::All => 0..length,
        Wanted::Part(part) => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            content_range(&mut answer, &format!("bytes {}-{}/{length}", part.start, part.end - 1));
            part
        }
        Wanted::Nothing => {
            *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            content_range(&mut answer, &format!("bytes */{length}"));
            return answer;
        }
    };
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
    if head.method == Method::GET && !part.is_empty() {
        *answer.body_mut() = AnswerBody::file(FileBody::new(opened.file, part));
    }
    answer
}

fn content_range(answer: &mut Response<AnswerBody>, range: &str) {
    if let Ok(range) = HeaderValue::from_str(range) {
        answer.headers_mut().insert(CONTENT_RANGE, range);
    }
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

fn content_type(path: &Path) -> HeaderValue {
    let guess = mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream");
    let is_text = guess.starts_with("text/") || matches!(guess, "application/javascript" | "application/json");
    let text = if is_text { format!("{guess}; charset=utf-8") } else { guess.to_owned() };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// The part of a file that a request wants.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(std::ops::Range<u64>),
    /// A part that the file does not have.
    Nothing,
}

/// One range is understood; several, or one of another file, mean the whole.
fn range(headers: &HeaderMap, tag: &str, length: u64) -> Wanted {
    let same = headers.get(IF_RANGE).is_none_or(|known| known.as_bytes() == tag.as_bytes());
    let text = headers.get(RANGE).and_then(|range| range.to_str().ok()).and_then(|text| text.strip_prefix("bytes="));
    match text.filter(|_| same).and_then(|text| text.trim().split_once('-')) {
        Some(("", last)) => match last.parse::<u64>() {
            Ok(0) => Wanted::Nothing,
            Ok(last) if length > 0 => Wanted::Part(length.saturating_sub(last)..length),
            Ok(_) => Wanted::Nothing,
            Err(_) => Wanted::All,
        },
        Some((first, last)) => between(first, last, length),
        None => Wanted::All,
    }
}

fn between(first: &str, last: &str, length: u64) -> Wanted {
    let last = if last.is_empty() { Ok(u64::MAX) } else { last.parse() };
    match (first.parse::<u64>(), last) {
        (Ok(first), Ok(last)) if first <= last && first < length => {
            Wanted::Part(first..last.saturating_add(1).min(length))
        }
        (Ok(first), Ok(last)) if first <= last => Wanted::Nothing,
        _ => Wanted::All,
    }
}

/// A folder is named with a slash at its end, so that links in its index lead where they should.
fn with_slash(head: &Parts) -> Response<AnswerBody> {
    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut answer = Response::new(AnswerBody::empty());
    // Two slashes at the beginning would name another host.
    let path = head.uri.path().trim_start_matches('/');
    if let Ok(location) = HeaderValue::try_from(format!("/{path}/{query}")) {
        *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

/// A part of a file on its way to a client, read a piece at a time.
#[derive(Debug)]
pub(super) struct FileBody {
    file: Arc<File>,
    part: std::ops::Range<u64>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    fn new(file: File, part: std::ops::Range<u64>) -> Self {
        Self { file: Arc::new(file), part, reading: None }
    }

    pub(super) fn left(&self) -> u64 {
        self.part.end - self.part.start
    }

    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left() == 0 {
            return Poll::Ready(None);
        }
        let (file, at) = (Arc::clone(&self.file), self.part.start);
        let size = usize::try_from(self.left()).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        let reading = self.reading.get_or_insert_with(|| spawn_blocking(move || read(&file, at, size)));
        let chunk = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).and_then(|chunk| chunk);
        self.reading = None;
        if let Ok(chunk) = &chunk {
            self.part.start += chunk.len() as u64;
        }
        Poll::Ready(Some(chunk))
    }
}

fn read(file: &File, at: u64, size: usize) -> io::Result<Bytes> {
    let mut chunk = vec![0; size];
    file.read_exact_at(&mut chunk, at)?;
    Ok(chunk.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_names_anything_outside_or_hidden() {
        for bad in [
            "/..",
            "/../etc/passwd",
            "/a/../../b",
            "/%2e%2e/b",
            "/%2E%2E%2Fb",
            "/a%2fb",
            "/a%5cb",
            "/a%00b",
            "/.env",
            "/.git/config",
            "/a/.hidden",
            "/%2eenv",
            "/./a",
            "/%ff",
        ] {
            assert_eq!(resolve(bad), None, "{bad}");
        }
        assert_eq!(resolve("/%252e%252e/b"), Some("%2e%2e/b".into()), "decoded once");
        assert_eq!(resolve("/a%20b/c.txt"), Some("a b/c.txt".into()));
        assert_eq!(resolve("/.well-known/security.txt"), Some(".well-known/security.txt".into()));
        assert_eq!(resolve("//etc/passwd"), Some("etc/passwd".into()), "below the root");
    }

    #[test]
    fn a_link_that_leaves_the_root_is_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        std::fs::write(root.path().join("page"), "y").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), root.path().join("out")).unwrap();
        std::os::unix::fs::symlink("page", root.path().join("in")).unwrap();
        let folder = File::open(root.path()).unwrap();

        for open in [
            |f: &File, r: &Path, i: &str| open_beneath(f, r, Path::new(i)),
            |_: &File, r: &Path, i: &str| open_resolved(r, Path::new(i)),
        ] {
            assert!(open(&folder, root.path(), "out").is_err());
            assert!(open(&folder, root.path(), "in").is_ok());
        }
    }

    #[test]
    fn a_range_is_cut_to_what_the_file_has() {
        let wanted = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_static(text));
            range(&headers, "\"t\"", 10)
        };

        assert_eq!(wanted("bytes=2-4"), Wanted::Part(2..5));
        assert_eq!(wanted("bytes=2-"), Wanted::Part(2..10));
        assert_eq!(wanted("bytes=2-99"), Wanted::Part(2..10));
        assert_eq!(wanted("bytes=-3"), Wanted::Part(7..10));
        assert_eq!(wanted("bytes=-99"), Wanted::Part(0..10));
        assert_eq!(wanted("bytes=10-"), Wanted::Nothing);
        assert_eq!(wanted("bytes=-0"), Wanted::Nothing);
        for whole in ["bytes=1-2,4-5", "bytes=4-2", "bytes=x-", "lines=1-2", "bytes="] {
            assert_eq!(wanted(whole), Wanted::All, "{whole}");
        }
    }

    #[test]
    fn a_known_tag_is_found_in_any_list() {
        for (known, expected) in
            [("\"t\"", true), ("W/\"t\"", true), ("\"a\", \"t\"", true), ("*", true), ("\"a\"", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(known));

            assert_eq!(is_known(&headers, "\"t\""), expected, "{known}");
        }
    }
}
