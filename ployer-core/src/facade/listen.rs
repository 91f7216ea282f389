//! The listener of the embedded proxy, where nobody handed one in.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// The port that applications are served on where nobody chose one.
const PORT: u16 = 8080;

/// How many ports after a taken one are tried.
const PORTS_TRIED: u16 = 100;

/// A listener on the loopback interface: the usual port, or the next that is free.
pub(super) fn listen() -> io::Result<TcpListener> {
    let last = PORT + PORTS_TRIED;
    let mut bound = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT));
    for port in PORT + 1..=last {
        match &bound {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            }
            _ => break,
        }
    }
    bound
}
