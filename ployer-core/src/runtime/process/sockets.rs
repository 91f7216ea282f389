//! Sockets: who listens. A port that answers proves nothing; the listener's inode has to be open in a process of the
//! replica.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, Process};

use super::kin::Kin;
use crate::config::AddressRange;
use crate::error::{Error, ErrorKind, Result};

/// The addresses on which one of `processes` listens, in order.
pub(super) fn listeners(processes: &[Kin]) -> Vec<SocketAddr> {
    let listening = listening();
    let mut found: Vec<SocketAddr> =
        processes.iter().flat_map(|kin| sockets(kin.pid)).filter_map(|inode| listening.get(&inode).copied()).collect();
    found.sort();
    found.dedup();
    found
}

/// Whether a listener on `bound` takes the connections to `address`.
pub(super) fn serves(bound: SocketAddr, address: SocketAddr) -> bool {
    let is_wide = match (bound.ip(), address.ip()) {
        (IpAddr::V4(bound), IpAddr::V4(_)) => bound.is_unspecified(),
        // A wide socket of version 6 takes version 4 too, unless it was told not to, which almost none is.
        (IpAddr::V6(bound), _) => bound.is_unspecified(),
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    };
    bound.port() == address.port() && (is_wide || canonical(bound.ip()) == address.ip())
}

fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The inode and address of each listening socket of this network.
fn listening() -> BTreeMap<u64, SocketAddr> {
    let tables = [procfs::net::tcp(), procfs::net::tcp6()];
    let entries = tables.into_iter().flat_map(Result::unwrap_or_default);
    entries
        .filter(|entry: &TcpNetEntry| entry.state == TcpState::Listen)
        .map(|entry| (entry.inode, entry.local_address))
        .collect()
}

/// The inodes of the sockets that a process has open.
fn sockets(pid: i32) -> Vec<u64> {
    let open = Process::new(pid).and_then(|process| process.fd());
    let Ok(open) = open else { return Vec::new() };
    open.filter_map(|entry| match entry.ok()?.target {
        FDTarget::Socket(inode) => Some(inode),
        _ => None,
    })
    .collect()
}

/// Whether nothing listens on `address`, found by binding it.
pub(super) fn is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

/// `count` free addresses of `range`, none of `taken`, looked for from a place that differs between installations:
/// two of them on one machine then seldom want the same.
///
/// # Errors
///
/// `Exhausted` if there are fewer.
pub(super) fn free(range: &AddressRange, taken: &[SocketAddr], count: usize, seed: u128) -> Result<Vec<SocketAddr>> {
    let ports: Vec<u16> = range.ports.clone().collect();
    let first = usize::try_from(seed % (ports.len().max(1) as u128)).unwrap_or_default();
    let found: Vec<SocketAddr> = ports[first..]
        .iter()
        .chain(&ports[..first])
        .map(|port| SocketAddr::new(range.host, *port))
        .filter(|address| !taken.contains(address) && is_free(*address))
        .take(count)
        .collect();
    if found.len() == count {
        return Ok(found);
    }
    let (low, high) = (range.ports.start(), range.ports.end());
    let message = format!("fewer than {count} ports between {low} and {high} are free on {}", range.host);
    Err(Error::new(ErrorKind::Exhausted, message).with_hint("allow a wider range of ports"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_listener_serves_its_own_address_and_a_wide_one_all() {
        let wanted = address("127.0.0.1:20001");

        for bound in ["127.0.0.1:20001", "0.0.0.0:20001", "[::]:20001", "[::ffff:127.0.0.1]:20001"] {
            assert!(serves(address(bound), wanted), "{bound}");
        }
        for bound in ["127.0.0.1:20002", "127.0.0.2:20001", "[::1]:20001"] {
            assert!(!serves(address(bound), wanted), "{bound}");
        }
    }

    #[test]
    fn free_addresses_are_neither_bound_nor_taken() {
        let bound = TcpListener::bind("127.0.0.1:0").unwrap();
        let used = bound.local_addr().unwrap();
        let ports = used.port()..=used.port().saturating_add(3);
        let range = AddressRange { host: used.ip(), ports };

        for seed in 0..4 {
            let found = free(&range, &[], 1, seed).unwrap();
            assert_ne!(found, [used]);
            assert_ne!(free(&range, &found, 1, seed).unwrap(), found);
        }

        let only = AddressRange { host: used.ip(), ports: used.port()..=used.port() };
        assert_eq!(free(&only, &[], 1, 0).unwrap_err().kind(), ErrorKind::Exhausted);
    }

    #[test]
    fn a_listener_is_found_in_the_process_that_holds_it_and_in_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let kin = |pid| Kin { pid, parent: 0, group: 0, started: 0 };

        assert!(listeners(&[kin(me)]).contains(&listener.local_addr().unwrap()));
        assert!(!listeners(&[kin(1)]).contains(&listener.local_addr().unwrap()));
    }
}
