//! Persistence: the table on disk, so that a proxy that starts again knows its hosts.
//!
//! What is read is not routed by: its addresses may be somebody else's by now. Every route of it is a hold until a
//! writer applies a table (see `route`). A file that cannot be read costs the hold and nothing else, since the writer
//! has the table too.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::error::{Error, Result};
use crate::model::RouteTable;

/// Replaces the file: after a crash it holds the old table or the new one.
pub(super) fn save(path: &Path, table: &RouteTable) -> Result<()> {
    let text = serde_json::to_vec(table).map_err(|e| Error::internal("the route table cannot be written", e))?;
    replace(path, &text).map_err(|e| {
        Error::internal(format!("the route table cannot be written to {}", path.display()), e)
            .with_hint("free some disk space, or correct the rights of the folder")
    })
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// The table of the file; `None` where there is none that can be read.
pub(super) fn restore(path: &Path) -> Option<RouteTable> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
        Err(e) => {
            tracing::warn!(path = %path.display(), error = %e, "the route table cannot be read; nothing is held");
            return None;
        }
    };
    match serde_json::from_slice(&text) {
        Ok(table) => Some(table),
        Err(e) => {
            tracing::warn!(path = %path.display(), error = %e, "the route table is not understood; nothing is held");
            None
        }
    }
}
