//! The rivals: our proxy and nginx, each in processes of its own whose processor time can be read.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ployer_core::clock::SystemClock;
use ployer_core::config::ProxySettings;
use ployer_core::model::{ApplicationId, Revision, Route, RouteTable, Target, Upstream};
use ployer_core::proxy::Proxy as _;
use ployer_core::proxy::embedded::{EmbeddedConfig, EmbeddedProxy};

/// A child process that ends with its owner.
pub(crate) struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // One that has ended already needs nothing more.
        self.0.kill().unwrap_or_default();
        self.0.wait().ok();
    }
}

/// Whoever forwards requests.
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Option<Child>,
    folder: Option<PathBuf>,
}

impl Rival {
    /// No proxy at all.
    pub(crate) fn direct(address: SocketAddr) -> Self {
        Self { name: "direct", address, child: None, folder: None }
    }

    /// Processor time of the process and its children so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let Some(child) = &self.child else { return Duration::ZERO };
        let mut own = vec![child.0.id()];
        own.extend(children(child.0.id()));
        own.into_iter().map(spent).sum()
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        if let Some(child) = self.child.as_ref().filter(|_| self.folder.is_some()) {
            // nginx takes its workers along only when it is asked to end.
            Command::new("kill").args(["-TERM", &child.0.id().to_string()]).status().ok();
            sleep(Duration::from_millis(200));
        }
        if let Some(folder) = &self.folder {
            fs::remove_dir_all(folder).unwrap_or_default();
        }
    }
}

fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|&id| stat(id).is_some_and(|fields| fields[1] == parent.to_string())).collect()
}

/// The fields after the command's name: state, parent, …
fn stat(id: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn spent(id: u32) -> Duration {
    let Some(fields) = stat(id) else { return Duration::ZERO };
    let ticks: u64 = fields[11..=12].iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

pub(crate) fn spawn_self(arguments: &[&str]) -> Child {
    let program = std::env::current_exe().expect("the path of this program");
    Child(Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().expect("a child process"))
}

/// The address that a child says first.
pub(crate) fn read_address(child: &mut Child) -> SocketAddr {
    let mut line = String::new();
    let output = child.0.stdout.as_mut().expect("a pipe");
    BufReader::new(output).read_line(&mut line).expect("a line");
    line.trim().parse().expect("an address")
}

pub(crate) fn start_ployer(upstream: SocketAddr, threads: usize) -> Rival {
    let mut child = spawn_self(&["role:proxy", &format!("{upstream} {threads}")]);
    let address = read_address(&mut child);
    Rival { name: "ployer", address, child: Some(child), folder: None }
}

/// What the process of our proxy does.
pub(crate) fn serve(argument: &str) {
    let (upstream, threads) = argument.split_once(' ').expect("an address and a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let settings = ProxySettings { threads: threads.parse().ok(), ..ProxySettings::default() };
        let proxy = EmbeddedProxy::start(EmbeddedConfig { settings, ..EmbeddedConfig::new(vec![listener]) });
        let proxy = proxy.expect("a proxy");
        let upstream =
            Upstream { replica: "shop-web-1".parse().expect("a name"), address: upstream.parse().expect("an address") };
        let hosts = ["shop.localhost".parse().expect("a host")].into();
        let route = Route { hosts, target: Target::Upstreams([upstream].into()) };
        let revision = Revision { epoch: 1, number: 1 };
        let table = RouteTable { revision, routes: [(ApplicationId::new(&SystemClock), route)].into(), fallback: None };
        proxy.apply(&table, Revision::default()).await.expect("a table");
        println!("{}", proxy.local_addr());
        std::future::pending::<()>().await;
    });
}

/// nginx with as many workers, kept connections on both sides and no log; `None` where it is not installed.
pub(crate) fn start_nginx(upstream: SocketAddr, workers: usize) -> Option<Rival> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let folder = std::env::temp_dir().join(format!("ployer-bench-nginx-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("nginx.conf"), configuration(upstream, address, workers)).expect("a file");
    let nginx = Command::new("nginx").arg("-p").arg(&folder).args(["-c", "nginx.conf"]).stderr(Stdio::null()).spawn();
    let child = Child(nginx.ok()?);
    let until = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > until {
            return None;
        }
        sleep(Duration::from_millis(20));
    }
    Some(Rival { name: "nginx", address, child: Some(child), folder: Some(folder) })
}

fn configuration(upstream: SocketAddr, address: SocketAddr, workers: usize) -> String {
    format!(
        "daemon off; worker_processes {workers}; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  keepalive_requests 100000000;
  upstream app {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
    }}
  }}
}}
"
    )
}
