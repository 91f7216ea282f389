//! The engine: a program that deploys and serves what its data directory says, until its standard input ends or it
//! is killed. The stories of crashes kill it.
//!
//! It says `listening` once requests are taken, and `at work` once it holds the lease.
#![allow(clippy::unwrap_used, reason = "a program of the tests says what is broken by panicking")]

use std::net::{Ipv4Addr, TcpListener};

use ployer_core::Ployer;
use tests::installation::settings;
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() {
    let [data_dir, port]: [String; 2] = std::env::args().skip(1).collect::<Vec<_>>().try_into().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().unwrap())).unwrap();
    println!("listening");
    let ployer = Ployer::builder().data_dir(data_dir).settings(settings()).listener(listener).build().await.unwrap();
    let mut engine = ployer.spawn();
    engine.ready().await.unwrap();
    println!("at work");
    let (mut input, mut byte) = (tokio::io::stdin(), [0]);
    tokio::select! {
        _ = input.read(&mut byte) => engine.stop().await.unwrap(),
        ended = engine.ended() => ended.unwrap(),
    }
}
