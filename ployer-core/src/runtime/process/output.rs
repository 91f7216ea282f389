//! Output: what a replica prints, in two files that it writes itself.
//!
//! The process appends to them without our help, so it neither waits for us nor dies with us. They are bounded
//! without copying or renaming: what is too old is punched out of the front of the file, which then is a hole. No
//! line written meanwhile is lost, and places in the file stay where they were. Where the file system cannot punch
//! holes, a file that has grown to twice its bound is emptied, and a warning says so.
//!
//! Now and then the supervisor notes how long both files are at what time. From these notes `lines` knows when a
//! line came, and in which order those of the two streams did, to the second.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::files;
use crate::model::OutputStream;

/// Holes begin and end at blocks of the file system.
const BLOCK_BYTES: u64 = 4096;
/// What one block counts in the size of a file on the disk.
const COUNTED_BYTES: u64 = 512;
/// Notes that are kept: a day of one each second, and as much again.
const NOTES_MAX: usize = 2 * 86_400;
const NOTE_BYTES: usize = 24;

/// Both streams, in the order in which lines of the same moment are told.
pub(super) const STREAMS: [OutputStream; 2] = [OutputStream::Stdout, OutputStream::Stderr];

/// The files of one replica.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) folder: PathBuf,
    /// What is kept of each stream.
    pub(super) bytes_max: u64,
}

/// How long both files were at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) at: Timestamp,
    pub(super) lengths: [u64; 2],
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

    fn notes_path(&self) -> PathBuf {
        self.folder.join("output.notes")
    }

    /// Opens a stream for a process to append to.
    pub(super) fn open(&self, stream: OutputStream) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.path(stream))
    }

    /// Puts a line of our own among what the replica complains about.
    pub(super) fn complain(&self, line: &str) -> io::Result<()> {
        self.open(OutputStream::Stderr)?.write_all(format!("ployer: {line}\n").as_bytes())
    }

    /// How long both files are now; one that is not there has no length.
    pub(super) fn lengths(&self) -> [u64; 2] {
        STREAMS.map(|stream| std::fs::metadata(self.path(stream)).map_or(0, |metadata| metadata.len()))
    }

    /// Whether [`Output::trim`] would free something.
    pub(super) fn is_too_long(&self) -> bool {
        let bytes_max = self.bytes_max + self.bytes_max / 4;
        let on_disk = |stream| std::fs::metadata(self.path(stream)).map_or(0, |file| file.blocks() * COUNTED_BYTES);
        STREAMS.into_iter().any(|stream| on_disk(stream) > bytes_max)
    }

    /// Frees what is older than the newest bytes that are kept.
    pub(super) fn trim(&self) -> io::Result<()> {
        for stream in STREAMS {
            match OpenOptions::new().write(true).open(self.path(stream)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(file) => self.trim_file(&file)?,
            }
        }
        Ok(())
    }

    fn trim_file(&self, file: &File) -> io::Result<()> {
        let length = file.metadata()?.len();
        let old = length.saturating_sub(self.bytes_max) / BLOCK_BYTES * BLOCK_BYTES;
        if old == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, old) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP) if length > 2 * self.bytes_max => {
                tracing::warn!(folder = %self.folder.display(), "output was emptied: its front cannot be freed here");
                file.set_len(0)
            }
            Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes how long the files are; the older half of the notes goes when there are too many.
    pub(super) fn note(&self, note: Note) -> io::Result<()> {
        let path = self.notes_path();
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        file.write_all(&encode(note))?;
        if file.metadata()?.len() > (NOTES_MAX * NOTE_BYTES) as u64 {
            let notes = self.notes()?;
            let newer: Vec<u8> = notes[notes.len() / 2..].iter().flat_map(|note| encode(*note)).collect();
            files::write_whole(&path, &newer)?;
        }
        Ok(())
    }

    /// How long the files were when last noted.
    pub(super) fn last_noted(&self) -> [u64; 2] {
        // Notes that cannot be read are begun anew.
        self.notes().ok().and_then(|notes| notes.last().map(|note| note.lengths)).unwrap_or_default()
    }

    /// The notes, oldest first.
    pub(super) fn notes(&self) -> io::Result<Vec<Note>> {
        match std::fs::read(self.notes_path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            bytes => Ok(bytes?.chunks_exact(NOTE_BYTES).filter_map(decode).collect()),
        }
    }
}

fn encode(note: Note) -> [u8; NOTE_BYTES] {
    let mut bytes = [0; NOTE_BYTES];
    bytes[..8].copy_from_slice(&note.at.as_millisecond().to_le_bytes());
    bytes[8..16].copy_from_slice(&note.lengths[0].to_le_bytes());
    bytes[16..].copy_from_slice(&note.lengths[1].to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Note> {
    let word = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let at = Timestamp::from_millisecond(word(0)?.cast_signed()).ok()?;
    Some(Note { at, lengths: [word(8)?, word(16)?] })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn output(bytes_max: u64) -> (tempfile::TempDir, Output) {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path(), bytes_max);
        (dir, output)
    }

    #[test]
    fn trimming_frees_the_front_and_moves_nothing() {
        let (_dir, output) = output(16 * 1024);
        let mut writer = output.open(OutputStream::Stdout).unwrap();
        let line = [b'x'; 1024];
        (0..100).for_each(|_| writer.write_all(&line).unwrap());
        assert!(output.is_too_long());

        output.trim().unwrap();
        writer.write_all(b"end").unwrap();

        let file = File::open(output.path(OutputStream::Stdout)).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), 100 * 1024 + 3, "places stay where they were");
        assert!(metadata.blocks() * COUNTED_BYTES <= 24 * 1024, "{} blocks", metadata.blocks());
        let mut tail = [0; 4];
        file.read_exact_at(&mut tail, 100 * 1024 - 1).unwrap();
        assert_eq!(&tail, b"xend");
        assert!(!output.is_too_long());
    }

    #[test]
    fn notes_come_back_in_order_and_half_a_note_is_none() {
        let (_dir, output) = output(1);
        let note = |second| Note { at: Timestamp::from_second(second).unwrap(), lengths: [second.cast_unsigned(), 7] };
        (1..4).for_each(|second| output.note(note(second)).unwrap());
        OpenOptions::new().append(true).open(output.notes_path()).unwrap().write_all(b"half").unwrap();

        assert_eq!(output.notes().unwrap(), [note(1), note(2), note(3)]);
    }

    #[test]
    fn the_older_half_of_too_many_notes_goes() {
        let (_dir, output) = output(1);
        let note = |second| Note { at: Timestamp::from_second(second).unwrap(), lengths: [0, 0] };
        let full: Vec<u8> = (0..NOTES_MAX as i64).flat_map(|second| encode(note(second))).collect();
        std::fs::write(output.notes_path(), full).unwrap();

        output.note(note(NOTES_MAX as i64)).unwrap();

        let notes = output.notes().unwrap();
        assert_eq!(notes.len(), NOTES_MAX / 2 + 1);
        assert_eq!(notes.last(), Some(&note(NOTES_MAX as i64)));
    }
}
