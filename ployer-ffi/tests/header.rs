//! The header: what is committed equals what the source says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::path::Path;

#[test]
fn the_committed_header_equals_the_generated_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut generated = Vec::new();
    cbindgen::generate_with_config(root, config).unwrap().write(&mut generated);
    let path = root.join("include/ployer.h");
    let committed = std::fs::read(&path).unwrap_or_default();

    if committed != generated {
        let beside = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ployer.h");
        std::fs::write(&beside, &generated).unwrap();
        panic!("the header is stale: cp {} {}", beside.display(), path.display());
    }
}
