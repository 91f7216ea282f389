//! Output: what a replica prints, in two files that it writes itself.
//!
//! The process appends to them without our help, so it neither waits for us nor dies with us. They are bounded
//! without copying or renaming: what is too old is punched out of the front of the file, which then is a hole. No
//! line written meanwhile is lost, and places in the file stay where they were.
//!
//! Where the file system cannot punch holes, a file that has grown to twice its bound is emptied, and says so.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use rustix::fs::FallocateFlags;

use super::files::{blocking, failed};
use crate::error::Result;
use crate::model::{OutputLine, OutputStream, ReplicaName};
use crate::runtime::LogQuery;

/// The longest line; a longer one is told in pieces.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;
/// How often a follower looks for more.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Holes begin and end at blocks of the file system.
const BLOCK_BYTES: u64 = 4096;

/// The two files of one replica.
#[derive(Clone, Debug)]
pub(super) struct Output {
    folder: PathBuf,
    /// What is kept of each.
    bytes_max: u64,
}

impl Output {
    pub(super) fn new(folder: &Path, bytes_max: u64) -> Self {
        Self { folder: folder.to_owned(), bytes_max }
    }

    /// Where a stream is written.
    pub(super) fn path(&self, stream: OutputStream) -> PathBuf {
        self.folder.join(match stream {
            OutputStream::Stdout => "stdout.log",
            OutputStream::Stderr => "stderr.log",
        })
    }

    /// Opens a stream for a process to append to.
    pub(super) fn open(&self, stream: OutputStream) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.path(stream))
    }

    /// Frees what is older than the newest that are kept.
    pub(super) fn trim(&self) -> io::Result<()> {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let file = match OpenOptions::new().write(true).open(self.path(stream)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let length = file.metadata()?.len();
            let old = length.saturating_sub(self.bytes_max) / BLOCK_BYTES * BLOCK_BYTES;
            if old == 0 || !self.holds_more(&file)? {
                continue;
            }
            match rustix::fs::fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, old) {
                Ok(()) => {}
                Err(rustix::io::Errno::OPNOTSUPP) if length > 2 * self.bytes_max => {
                    tracing::warn!(path = %self.path(stream).display(), "output was emptied: it cannot be shortened here");
                    file.set_len(0)?;
                }
                Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether more is on the disk than is kept, with some room, so that not every look punches.
    fn holds_more(&self, file: &File) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        Ok(file.metadata()?.blocks() * 512 > self.bytes_max + self.bytes_max / 4)
    }

    /// What was printed, and what comes as long as the folder is there.
    pub(super) async fn lines(
        &self,
        name: &ReplicaName,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<OutputLine>>> {
        let mut reader = Reader::new(self.clone(), name.clone());
        let tail = query.tail.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX));
        let follow = query.follow;
        let reader = blocking(move || {
            let cannot = failed(format!("the output of `{}` cannot be read", reader.name));
            reader.start(tail).map_err(cannot)?;
            if !follow {
                reader.finish();
            }
            Ok(reader)
        })
        .await?;
        if !follow {
            return Ok(stream::iter(reader.ready.into_iter().map(Ok)).boxed());
        }
        Ok(stream::unfold(reader, |mut reader| async move { reader.next().await.map(|line| (line, reader)) }).boxed())
    }
}

/// Reads both files from where it is.
struct Reader {
    output: Output,
    name: ReplicaName,
    sources: [Source; 2],
    ready: VecDeque<OutputLine>,
}

/// One file, and the beginning of a line whose end was not written yet.
struct Source {
    stream: OutputStream,
    file: Option<File>,
    offset: u64,
    partial: Vec<u8>,
}

impl Reader {
    fn new(output: Output, name: ReplicaName) -> Self {
        let source = |stream| Source { stream, file: None, offset: 0, partial: Vec::new() };
        let sources = [source(OutputStream::Stdout), source(OutputStream::Stderr)];
        Self { output, name, sources, ready: VecDeque::new() }
    }

    /// Reads what is kept, or the end of it.
    fn start(&mut self, tail: Option<usize>) -> io::Result<()> {
        for source in &mut self.sources {
            source.skip_to_kept(&self.output)?;
        }
        while self.read()? {
            if let Some(tail) = tail {
                let surplus = self.ready.len().saturating_sub(tail);
                self.ready.drain(..surplus);
            }
        }
        Ok(())
    }

    /// The lines without an end are told as they are.
    fn finish(&mut self) {
        for source in &mut self.sources {
            if !source.partial.is_empty() {
                let line = std::mem::take(&mut source.partial);
                self.ready.push_back(told(&self.name, source.stream, &line));
            }
        }
    }

    async fn next(&mut self) -> Option<Result<OutputLine>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            // Looked at before reading: what was printed until the removal is read once more after it.
            let is_removed = !self.output.folder.exists();
            match self.read() {
                Ok(true) => {}
                Ok(false) if is_removed => {
                    self.finish();
                    return self.ready.pop_front().map(Ok);
                }
                Ok(false) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(cause) => return Some(Err(failed(format!("the output of `{}` cannot be read", self.name))(cause))),
            }
        }
    }

    /// Reads a piece of each file; whether there was any.
    fn read(&mut self) -> io::Result<bool> {
        let mut any = false;
        for source in &mut self.sources {
            any |= source.read(&self.output, &self.name, &mut self.ready)?;
        }
        Ok(any)
    }
}

impl Source {
    fn open(&mut self, output: &Output) -> io::Result<Option<&File>> {
        if self.file.is_none() {
            self.file = match File::open(output.path(self.stream)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                other => Some(other?),
            };
        }
        Ok(self.file.as_ref())
    }

    /// Goes to the first whole line of what is kept.
    fn skip_to_kept(&mut self, output: &Output) -> io::Result<()> {
        let Some(file) = self.open(output)? else { return Ok(()) };
        let mut at = file.metadata()?.len().saturating_sub(output.bytes_max);
        if at > 0 {
            let mut piece = vec![0; LINE_BYTES_MAX];
            let read = file.read_at(&mut piece, at)?;
            at += piece[..read].iter().position(|byte| *byte == b'\n').map_or(read, |end| end + 1) as u64;
        }
        self.offset = at;
        Ok(())
    }

    fn read(&mut self, output: &Output, name: &ReplicaName, ready: &mut VecDeque<OutputLine>) -> io::Result<bool> {
        let offset = self.offset;
        let Some(file) = self.open(output)? else { return Ok(false) };
        // Somebody emptied it: what comes now is all new.
        let offset = if file.metadata()?.len() < offset { 0 } else { offset };
        let mut piece = vec![0; READ_BYTES];
        let read = file.read_at(&mut piece, offset)?;
        self.offset = offset + read as u64;
        for byte in &piece[..read] {
            if *byte != b'\n' {
                self.partial.push(*byte);
            }
            if *byte == b'\n' || self.partial.len() == LINE_BYTES_MAX {
                ready.push_back(told(name, self.stream, &self.partial));
                self.partial.clear();
            }
        }
        Ok(read > 0)
    }
}

fn told(name: &ReplicaName, stream: OutputStream, line: &[u8]) -> OutputLine {
    let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
    OutputLine { replica: name.clone(), stream, at: None, text }
}
