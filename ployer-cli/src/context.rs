//! The context: what the environment says, read once, here alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;

use ployer_core::{Error, ErrorKind, Result};

use crate::args::DataArgs;

/// What build commands, processes and Git inherit where it is set; all else of our environment stays with us.
const INHERITED: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// How many ports after a taken one are tried.
const PORTS_TRIED: u16 = 100;

/// What of our environment goes on to what we start.
pub(crate) fn inherited() -> BTreeMap<String, String> {
    INHERITED.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect()
}

/// The data directory: the one named, else `ployer` in the user's.
pub(crate) fn data_dir(args: DataArgs) -> Result<PathBuf> {
    let found = args.data_dir.or_else(|| user_data_dir(|name| std::env::var_os(name).map(PathBuf::from)));
    let found = found.ok_or_else(|| {
        Error::invalid("--data-dir", "no home directory is known, so it has no default")
            .with_hint("name a directory with `--data-dir`")
    })?;
    std::path::absolute(&found).map_err(|error| {
        Error::invalid("--data-dir", format!("`{}` cannot be resolved", found.display())).with_source(error)
    })
}

fn user_data_dir(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let home = || variable("HOME").and_then(absolute);
    let data = match cfg!(target_os = "macos") {
        true => home()?.join("Library/Application Support"),
        false => match variable("XDG_DATA_HOME").and_then(absolute) {
            Some(data) => data,
            None => home()?.join(".local/share"),
        },
    };
    Some(data.join("ployer"))
}

/// Listens on that port, or the next that is free.
pub(crate) fn listen(host: IpAddr, port: u16) -> Result<TcpListener> {
    let last = port.saturating_add(PORTS_TRIED);
    for candidate in port..=last {
        match TcpListener::bind(SocketAddr::new(host, candidate)) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && candidate < last => {}
            Err(error) => return Err(refused(host, candidate, error)),
        }
    }
    Err(Error::new(ErrorKind::Exhausted, format!("no port from {port} to {last} is free on {host}")))
}

/// Listens on that port and no other, for tokio.
pub(crate) fn listen_exactly(host: IpAddr, port: u16) -> Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(SocketAddr::new(host, port)).and_then(|listener| {
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    });
    listener.map_err(|error| refused(host, port, error))
}

fn refused(host: IpAddr, port: u16, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("port {port} of {host} cannot be listened on"))
        .with_source(error)
        .with_hint("choose another one with `--port`, or another address with `--host`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<PathBuf> {
        |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
    }

    #[test]
    #[cfg(not(target_os = "macos"))]
    fn the_data_directory_follows_the_rules_of_the_desktop() {
        let both = variables(&[("HOME", "/home/ann"), ("XDG_DATA_HOME", "/data")]);
        assert_eq!(user_data_dir(both), Some("/data/ployer".into()));
        let home = variables(&[("HOME", "/home/ann")]);
        assert_eq!(user_data_dir(home), Some("/home/ann/.local/share/ployer".into()));
        let relative = variables(&[("HOME", "/home/ann"), ("XDG_DATA_HOME", "data")]);
        assert_eq!(user_data_dir(relative), Some("/home/ann/.local/share/ployer".into()), "relative ones are ignored");
        assert_eq!(user_data_dir(variables(&[])), None);
    }

    #[test]
    fn a_port_that_is_taken_gives_way_to_the_next() {
        let host = IpAddr::from([127, 0, 0, 1]);
        let taken = TcpListener::bind((host, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();

        let next = listen(host, port).unwrap().local_addr().unwrap().port();

        assert!(next > port && next <= port + PORTS_TRIED);
    }

    #[test]
    fn an_address_of_another_machine_is_refused_with_a_hint() {
        let refused = listen(IpAddr::from([192, 0, 2, 1]), 0).unwrap_err();

        assert_eq!((refused.kind(), refused.hint().is_some()), (ErrorKind::Unavailable, true));
    }
}
