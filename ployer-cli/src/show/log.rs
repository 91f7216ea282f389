//! The program's own log: quiet but for warnings unless asked for, on stderr.

use tracing::level_filters::LevelFilter;

/// Begins to write what the libraries tell.
pub(crate) fn begin(verbose: u8) {
    let most = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt().with_max_level(most).with_writer(std::io::stderr).with_ansi(false).without_time().init();
}
