//! Lines: reading what a replica printed, its end or all of it, and what comes.
//!
//! Reading is by place in each file, so that what was read and what comes meet without gap or double.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;

use super::files::{blocking, failed};
use super::output::{Note, Output, STREAMS};
use crate::clock::Clock;
use crate::error::Result;
use crate::model::{OutputLine, OutputStream, ReplicaName};
use crate::runtime::LogQuery;

/// The longest line; a longer one is told in pieces.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;
/// What is read first of the end of a file for a tail; four times as much as long as that is too little.
const TAIL_BYTES: u64 = 128 * 1024;
/// How often a follower looks for more.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What `name` printed, and what comes as long as it is not removed.
pub(super) async fn read(
    output: Output,
    name: &ReplicaName,
    query: &LogQuery,
    clock: Arc<dyn Clock>,
) -> Result<BoxStream<'static, Result<OutputLine>>> {
    let (name, follow) = (name.clone(), query.follow);
    let tail = query.tail.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX));
    let reader = blocking(move || {
        let cannot = failed(format!("the output of `{name}` cannot be read"));
        Reader::start(output, name, tail, follow, clock).map_err(cannot)
    })
    .await?;
    if !follow {
        return Ok(stream::iter(reader.ready.into_iter().map(Ok)).boxed());
    }
    Ok(stream::unfold(reader, |mut reader| async move { reader.next().await.map(|line| (line, reader)) }).boxed())
}

/// Reads both files from where it is.
struct Reader {
    output: Output,
    name: ReplicaName,
    clock: Arc<dyn Clock>,
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

/// A line and where it ends in its file.
struct Printed {
    end: u64,
    text: Vec<u8>,
}

impl Reader {
    /// Reads what is there, or the end of it. Without a follower a line that has no end yet is told as it is.
    fn start(
        output: Output,
        name: ReplicaName,
        tail: Option<usize>,
        follow: bool,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let notes = output.notes()?;
        let mut sources = STREAMS.map(Source::new);
        let mut lines: Vec<(usize, OutputStream, Vec<u8>)> = Vec::new();
        for (which, source) in sources.iter_mut().enumerate() {
            let mut printed = source.read_end(&output, tail)?;
            if !follow {
                printed.extend(source.take_partial());
            }
            let when = |end: u64| notes.partition_point(|note| note.lengths[which] < end);
            lines.extend(printed.into_iter().map(|line| (when(line.end), source.stream, line.text)));
        }
        // Stable: lines of the same moment stay in the order of their streams.
        lines.sort_by_key(|(when, ..)| *when);
        let surplus = tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        let at = |when: usize| notes.get(when).map(|note: &Note| note.at);
        let ready = lines.drain(surplus..).map(|(when, stream, text)| told(&name, stream, &text, at(when))).collect();
        Ok(Self { output, name, clock, sources, ready })
    }

    async fn next(&mut self) -> Option<Result<OutputLine>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            // Looked at before reading: what was printed until the removal is read once more after it.
            let is_removed = !self.output.folder.exists();
            match self.read_more(is_removed) {
                Ok(()) if !self.ready.is_empty() => {}
                Ok(()) if is_removed => return None,
                Ok(()) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(cause) => return Some(Err(failed(format!("the output of `{}` cannot be read", self.name))(cause))),
            }
        }
    }

    /// Reads a piece of each file; at the end also the lines without one.
    fn read_more(&mut self, is_removed: bool) -> io::Result<()> {
        let now = Some(self.clock.now());
        for source in &mut self.sources {
            let mut printed = Vec::new();
            let read = source.read_piece(&self.output, &mut printed)?;
            if read == 0 && is_removed {
                printed.extend(source.take_partial());
            }
            let stream = source.stream;
            self.ready.extend(printed.iter().map(|line| told(&self.name, stream, &line.text, now)));
        }
        Ok(())
    }
}

impl Source {
    fn new(stream: OutputStream) -> Self {
        Self { stream, file: None, offset: 0, partial: Vec::new() }
    }

    fn open(&mut self, output: &Output) -> io::Result<Option<&File>> {
        if self.file.is_none() {
            self.file = match File::open(output.path(self.stream)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                other => Some(other?),
            };
        }
        Ok(self.file.as_ref())
    }

    /// Reads what is kept, or as much of its end as has `tail` lines.
    fn read_end(&mut self, output: &Output, tail: Option<usize>) -> io::Result<Vec<Printed>> {
        let Some(file) = self.open(output)? else { return Ok(Vec::new()) };
        let length = file.metadata()?.len();
        let mut bytes = tail.map_or(output.bytes_max, |_| TAIL_BYTES.min(output.bytes_max));
        loop {
            self.go_to(output, length.saturating_sub(bytes))?;
            let mut printed = Vec::new();
            while self.offset < length && self.read_piece(output, &mut printed)? > 0 {}
            let is_whole = bytes >= length || bytes >= output.bytes_max;
            if is_whole || tail.is_none_or(|tail| printed.len() >= tail) {
                return Ok(printed);
            }
            bytes = (bytes * 4).min(output.bytes_max);
        }
    }

    /// Goes to the first whole line from `at` on.
    fn go_to(&mut self, output: &Output, at: u64) -> io::Result<()> {
        self.partial.clear();
        self.offset = at;
        if at == 0 {
            return Ok(());
        }
        let Some(file) = self.open(output)? else { return Ok(()) };
        let mut piece = vec![0; LINE_BYTES_MAX];
        let read = file.read_at(&mut piece, at)?;
        let skipped = piece[..read].iter().position(|byte| *byte == b'\n').map_or(read, |end| end + 1);
        self.offset = at + skipped as u64;
        Ok(())
    }

    fn read_piece(&mut self, output: &Output, printed: &mut Vec<Printed>) -> io::Result<usize> {
        let before = self.offset;
        let Some(file) = self.open(output)? else { return Ok(0) };
        // Somebody emptied it: what comes now is all new.
        let offset = if file.metadata()?.len() < before { 0 } else { before };
        let mut piece = vec![0; READ_BYTES];
        let read = file.read_at(&mut piece, offset)?;
        for (at, byte) in piece[..read].iter().enumerate() {
            if *byte != b'\n' {
                self.partial.push(*byte);
            }
            if *byte == b'\n' || self.partial.len() == LINE_BYTES_MAX {
                let text = std::mem::take(&mut self.partial);
                printed.push(Printed { end: offset + at as u64 + 1, text });
            }
        }
        self.offset = offset + read as u64;
        Ok(read)
    }

    fn take_partial(&mut self) -> Option<Printed> {
        let text = std::mem::take(&mut self.partial);
        (!text.is_empty()).then_some(Printed { end: self.offset, text })
    }
}

fn told(name: &ReplicaName, stream: OutputStream, line: &[u8], at: Option<Timestamp>) -> OutputLine {
    let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
    OutputLine { replica: name.clone(), stream, at, text }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::clock::SystemClock;

    struct Scene {
        _dir: tempfile::TempDir,
        output: Output,
    }

    impl Scene {
        fn new(bytes_max: u64) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let folder = dir.path().join("shop-1");
            std::fs::create_dir(&folder).unwrap();
            Self { output: Output::new(&folder, bytes_max), _dir: dir }
        }

        fn print(&self, stream: OutputStream, text: &str) {
            self.output.open(stream).unwrap().write_all(text.as_bytes()).unwrap();
        }

        fn note(&self, second: i64) {
            let at = Timestamp::from_second(second).unwrap();
            self.output.note(Note { at, lengths: self.output.lengths() }).unwrap();
        }

        async fn read(&self, tail: Option<u32>, follow: bool) -> BoxStream<'static, Result<OutputLine>> {
            let query = LogQuery { tail, follow };
            read(self.output.clone(), &"shop-1".parse().unwrap(), &query, Arc::new(SystemClock)).await.unwrap()
        }

        async fn texts(&self, tail: Option<u32>) -> Vec<String> {
            self.read(tail, false).await.map(|line| line.unwrap().text).collect().await
        }
    }

    use OutputStream::{Stderr, Stdout};

    #[tokio::test]
    async fn lines_of_both_streams_come_in_the_order_of_the_notes() {
        let scene = Scene::new(1 << 20);
        scene.print(Stderr, "a\n");
        scene.note(1);
        scene.print(Stdout, "b\nc\n");
        scene.note(2);
        scene.print(Stderr, "d\n");
        scene.note(3);
        scene.print(Stderr, "f\n");
        scene.print(Stdout, "e\n");

        let lines: Vec<_> = scene.read(None, false).await.map(Result::unwrap).collect().await;

        let told: Vec<_> = lines.iter().map(|line| (line.text.as_str(), line.at.map(Timestamp::as_second))).collect();
        assert_eq!(
            told,
            [("a", Some(1)), ("b", Some(2)), ("c", Some(2)), ("d", Some(3)), ("e", None), ("f", None)],
            "within a moment stdout comes first"
        );
        assert_eq!(scene.texts(Some(3)).await, ["d", "e", "f"]);
    }

    #[tokio::test]
    async fn a_long_output_is_read_from_its_first_whole_line_that_is_kept() {
        let scene = Scene::new(8 * 1024);
        for number in 0..2_000 {
            scene.print(Stdout, &format!("line {number}\n"));
        }
        scene.output.trim().unwrap();

        let lines = scene.texts(None).await;

        assert_eq!(lines.last().unwrap(), "line 1999");
        let first: usize = lines[0].strip_prefix("line ").unwrap().parse().unwrap();
        assert_eq!(lines.len(), 2_000 - first, "none is missing between the first and the last");
        assert!((700..1_000).contains(&lines.len()), "{}", lines.len());
        assert_eq!(scene.texts(Some(2)).await, ["line 1998", "line 1999"]);
    }

    #[tokio::test]
    async fn a_tail_reaches_back_as_far_as_it_needs() {
        let scene = Scene::new(1 << 20);
        let wide = "x".repeat(9_000);
        for number in 0..60 {
            scene.print(Stdout, &format!("{number} {wide}\n"));
        }

        let lines = scene.texts(Some(50)).await;

        assert_eq!(lines.len(), 50);
        assert!(lines[0].starts_with("10 "), "{}", &lines[0][..5]);
    }

    #[tokio::test]
    async fn an_endless_line_comes_in_pieces_and_an_unfinished_one_as_it_is() {
        let scene = Scene::new(1 << 20);
        scene.print(Stdout, &"x".repeat(LINE_BYTES_MAX + 5));

        let lines = scene.texts(None).await;

        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES_MAX, 5]);
    }

    #[tokio::test]
    async fn a_follower_gets_what_comes_and_survives_a_file_that_was_emptied() {
        let scene = Scene::new(1 << 20);
        scene.print(Stdout, "one\ntw");
        let mut lines = scene.read(None, true).await;
        let mut next = async || lines.next().await.unwrap().unwrap();

        assert_eq!(next().await.text, "one");
        scene.print(Stdout, "o\r\n");
        let two = next().await;
        assert_eq!((two.text.as_str(), two.at.is_some()), ("two", true));
        std::fs::write(scene.output.path(Stdout), "").unwrap();
        scene.print(Stdout, "3\n");
        assert_eq!(next().await.text, "3");
        scene.print(Stderr, "last");
        std::fs::remove_dir_all(&scene.output.folder).unwrap();
        assert!(lines.next().await.is_none(), "its file was not open yet when it went");
    }
}
