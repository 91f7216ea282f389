//! The embedded proxy against nginx with as many workers, or against a direct connection where nginx is missing.
//!
//! Everything that is measured is a process of its own: the proxy, the upstream behind it, the clients in front. Rates
//! depend on what else the machine does; processor time per request of the proxy's process is steadier, and it is what
//! the goal speaks of. Rounds alternate, so that both sides see the same weather; the median counts.
#![allow(clippy::expect_used, reason = "a bench that cannot be set up has no result")]

mod load;
mod rivals;
mod upstream;

use std::time::Duration;

use benches::median;
use rivals::{Rival, start_nginx, start_ployer};

const THREADS: usize = 2;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("role:upstream") => upstream::serve(),
        Some("role:proxy") => rivals::serve(&arguments[1]),
        _ => compare(),
    }
}

fn compare() {
    println!("proxy: {THREADS} threads, {ROUNDS} rounds of {ROUND:?}, median; processor time is the proxy's own");
    println!("{:<22} {:>8} {:>12} {:>16} {:>7}", "case", "clients", "requests/s", "CPU µs/request", "ratio");
    let upstream = upstream::start();
    for (case, path, clients) in
        [("small body", "/small", 64), ("100 kB body", "/large", 64), ("small body", "/small", 8)]
    {
        let ployer = start_ployer(upstream.address, THREADS);
        match start_nginx(upstream.address, THREADS) {
            Some(nginx) => duel(case, path, clients, &ployer, &nginx),
            None => duel(case, path, clients, &ployer, &Rival::direct(upstream.address)),
        }
    }
}

fn duel(case: &str, path: &str, clients: usize, ours: &Rival, theirs: &Rival) {
    let mut seen = [Vec::new(), Vec::new()];
    for rival in [ours, theirs] {
        load::run(rival.address, path, clients, ROUND / 2);
    }
    for _ in 0..ROUNDS {
        for (rival, seen) in [ours, theirs].into_iter().zip(&mut seen) {
            let before = rival.processor_time();
            let requests = load::run(rival.address, path, clients, ROUND);
            let spent = rival.processor_time().saturating_sub(before);
            seen.push((requests as f64 / ROUND.as_secs_f64(), spent.as_secs_f64() * 1e6 / requests as f64));
        }
    }
    let [ours_seen, theirs_seen] = seen.map(|rounds| {
        let (rates, costs): (Vec<f64>, Vec<f64>) = rounds.into_iter().unzip();
        (median(&rates), median(&costs))
    });
    for (rival, (rate, cost), ratio) in
        [(theirs, theirs_seen, None), (ours, ours_seen, Some(ours_seen.1 / theirs_seen.1))]
    {
        let ratio = ratio.filter(|r: &f64| r.is_finite()).map_or(String::new(), |ratio| format!("{ratio:.2}"));
        println!("{:<22} {clients:>8} {rate:>12.0} {cost:>16.1} {ratio:>7}", format!("{case}, {}", rival.name));
    }
}
