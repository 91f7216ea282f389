//! `ployer.toml`: what an application says of itself, beside its source. Every key may be left out.
//!
//! ```toml
//! build = "npm ci"                 # runs among the files before they are released
//! release = "npm run migrate"      # must succeed once per deployment, before anything of it starts
//! health = "/healthz"              # the path that `web` must answer with 200 to 399 to be ready
//! static = "dist"                  # a folder that the proxy serves; instead of a `web` process
//! port = 8080                      # where `web` listens in a container; a process listens on $PORT
//! rollout = "stop-first"           # or "start-first", the default where there are no volumes
//! volumes = ["uploads", { name = "cache", path = "/var/cache/app" }]
//!
//! [processes]
//! worker = "node worker.js"        # a command alone, or with what else is to be said:
//! web = { command = "node server.js", replicas = 2, memory = "512 MiB", cpus = 1.5, pids = 200 }
//! ```
//!
//! A command is a line, split into words as a shell would, or a list of words. No shell runs it; `$NAME` stands for a
//! variable of the environment, `PORT` among them. `web` has a port and a route, every other process has neither.
//!
//! A process finds the persistent directory `uploads` in `PLOYER_VOLUME_UPLOADS`; `path` is where a container sees
//! it. Memory is a number of bytes or has a unit: `KB MB GB` are thousands, `KiB MiB GiB` (or `K M G`) are 1,024s.
//!
//! A `Procfile` gives the commands where no process here has one; what is said here of a process is then added to
//! it. An unknown key is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::command;
use super::procfile::Procfile;
use super::text::place;
use crate::error::{Error, Result};
use crate::model::{
    Command, Limits, ProcessName, ProcessSpec, RepoPath, RequestPath, Rollout, VolumeMount, VolumeName,
};

/// The most replicas of a process type that make sense on one machine.
const REPLICAS_MAX: u32 = 1_000;

/// What a `ployer.toml` says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PloyerToml {
    build: Option<Line>,
    release: Option<Line>,
    health: Option<RequestPath>,
    #[serde(rename = "static")]
    static_root: Option<StaticRoot>,
    port: Option<Port>,
    rollout: Option<Rollout>,
    #[serde(deserialize_with = "volumes")]
    volumes: Vec<VolumeMount>,
    processes: BTreeMap<ProcessName, Process>,
}

/// Reads a `ployer.toml`.
///
/// # Errors
///
/// `Invalid`, with the line and the column.
pub(super) fn parse(text: &str) -> Result<PloyerToml> {
    toml::from_str(text).map_err(|error| {
        let reason = error.message().trim_end();
        let Some(span) = error.span() else { return invalid(reason) };
        let (line, column) = place(text, span.start);
        invalid(format!("line {line}, column {column}: {reason}"))
    })
}

fn invalid(reason: impl fmt::Display) -> Error {
    Error::invalid("ployer.toml", reason).with_hint("correct the file in the source, then deploy again")
}

impl PloyerToml {
    pub(super) fn build(&self) -> Option<&Command> {
        self.build.as_ref().map(|line| &line.0)
    }

    pub(super) fn release(&self) -> Option<&Command> {
        self.release.as_ref().map(|line| &line.0)
    }

    pub(super) fn health(&self) -> Option<&RequestPath> {
        self.health.as_ref()
    }

    pub(super) fn static_root(&self) -> Option<&Path> {
        self.static_root.as_ref().map(|root| root.0.as_path())
    }

    pub(super) fn port(&self) -> Option<u16> {
        self.port.map(|port| port.0)
    }

    pub(super) fn rollout(&self) -> Option<Rollout> {
        self.rollout
    }

    pub(super) fn volumes(&self) -> &[VolumeMount] {
        &self.volumes
    }

    /// Whether a process here has a command: a Procfile is not read then.
    pub(super) fn has_commands(&self) -> bool {
        self.processes.values().any(|process| process.command.is_some())
    }

    /// The process types. `procfile` gives the commands where none is here; without one, an image has its own.
    pub(super) fn processes(&self, procfile: Option<&Procfile>) -> Result<Vec<ProcessSpec>> {
        let Some(procfile) = procfile.filter(|_| !self.has_commands()) else {
            return Ok(self.processes.iter().map(|(name, process)| process.spec(name, None)).collect());
        };
        let missing = |name: &&ProcessName| !procfile.processes.iter().any(|(known, _)| known == *name);
        if let Some(name) = self.processes.keys().find(missing) {
            let message = format!("the process `{name}` has no command, neither here nor in the Procfile");
            return Err(invalid(message));
        }
        let spec = |(name, command): &(ProcessName, Command)| {
            let process = self.processes.get(name).cloned().unwrap_or_default();
            process.spec(name, Some(command))
        };
        Ok(procfile.processes.iter().map(spec).collect())
    }

    /// The first process here that has no command.
    pub(super) fn without_command(&self) -> Option<&ProcessName> {
        self.processes.iter().find(|(_, process)| process.command.is_none()).map(|(name, _)| name)
    }

    /// The first process whose memory, processor time or number of processes is limited.
    pub(super) fn limited(&self) -> Option<&ProcessName> {
        self.processes.iter().find(|(_, process)| process.limits != Limits::default()).map(|(name, _)| name)
    }
}

/// A process type: all that is said of it.
#[derive(Clone, Debug, PartialEq)]
struct Process {
    command: Option<Command>,
    replicas: u32,
    limits: Limits,
}

impl Default for Process {
    fn default() -> Self {
        Self { command: None, replicas: 1, limits: Limits::default() }
    }
}

impl Process {
    fn spec(&self, name: &ProcessName, command: Option<&Command>) -> ProcessSpec {
        ProcessSpec {
            replicas: self.replicas,
            limits: self.limits,
            ..ProcessSpec::new(name.clone(), self.command.as_ref().or(command).cloned())
        }
    }
}

/// The table of a process type.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessTable {
    command: Option<Line>,
    #[serde(default, deserialize_with = "replicas")]
    replicas: Option<u32>,
    memory: Option<Memory>,
    #[serde(default, deserialize_with = "cpus")]
    cpus: Option<f64>,
    #[serde(default, deserialize_with = "pids")]
    pids: Option<u32>,
}

impl From<ProcessTable> for Process {
    fn from(table: ProcessTable) -> Self {
        let ProcessTable { command, replicas, memory, cpus, pids } = table;
        Self {
            command: command.map(|line| line.0),
            replicas: replicas.unwrap_or(1),
            limits: Limits { memory_bytes_max: memory.map(|memory| memory.0), cpus_max: cpus, pids_max: pids },
        }
    }
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ProcessVisitor)
    }
}

struct ProcessVisitor;

impl<'de> Visitor<'de> for ProcessVisitor {
    type Value = Process;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command, or a table with `command`")
    }

    fn visit_str<E: de::Error>(self, line: &str) -> Result<Process, E> {
        LineVisitor.visit_str(line).map(|line| Process { command: Some(line.0), ..Process::default() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, words: A) -> Result<Process, A::Error> {
        LineVisitor.visit_seq(words).map(|line| Process { command: Some(line.0), ..Process::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Process, A::Error> {
        ProcessTable::deserialize(MapAccessDeserializer::new(table)).map(Process::from)
    }
}

/// A command: a line, or its words.
#[derive(Clone, Debug, PartialEq)]
struct Line(Command);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LineVisitor)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command: text, or a list of words")
    }

    fn visit_str<E: de::Error>(self, line: &str) -> Result<Line, E> {
        command::split(line).map(Line).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Line, A::Error> {
        let mut command = Vec::new();
        while let Some(word) = words.next_element::<String>()? {
            command.push(word);
        }
        match command.first().map(String::as_str) {
            None | Some("") => Err(de::Error::custom("the command is empty")),
            Some(_) => Ok(Line(Command(command))),
        }
    }
}

/// A folder of the source; `.` is the whole.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct StaticRoot(PathBuf);

impl TryFrom<String> for StaticRoot {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        match text.as_str() {
            "." | "./" => Ok(Self(PathBuf::new())),
            path => Ok(Self(path.parse::<RepoPath>()?.as_str().into())),
        }
    }
}

/// A port; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "i64")]
struct Port(u16);

impl TryFrom<i64> for Port {
    type Error = &'static str;

    fn try_from(number: i64) -> Result<Self, &'static str> {
        u16::try_from(number).ok().filter(|port| *port > 0).map(Self).ok_or("a port is a number from 1 to 65535")
    }
}

/// An amount of memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory(u64);

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemoryVisitor)
    }
}

struct MemoryVisitor;

impl Visitor<'_> for MemoryVisitor {
    type Value = Memory;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount of memory: `\"512 MiB\"`, or a number of bytes")
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Memory, E> {
        let bytes = u64::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        bytes.map(Memory).ok_or_else(|| E::custom("an amount of memory is more than nothing"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Memory, E> {
        memory(text).map(Memory).ok_or_else(|| E::custom(format!("`{text}` is no amount of memory, as `512 MiB` is")))
    }
}

fn memory(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes > 0)
}

fn replicas<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match u32::try_from(number) {
        Ok(number) if number <= REPLICAS_MAX => Ok(Some(number)),
        _ => Err(de::Error::custom(format!("replicas are a number from 0 to {REPLICAS_MAX}"))),
    }
}

fn cpus<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let cores = f64::deserialize(deserializer)?;
    if cores.is_finite() && cores > 0.0 { Ok(Some(cores)) } else { Err(de::Error::custom("cpus are more than 0")) }
}

fn pids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match u32::try_from(number) {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(de::Error::custom("pids are more than 0")),
    }
}

/// A persistent directory: its name, or a table.
struct Volume(VolumeMount);

/// The table of a persistent directory.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VolumeTable {
    name: VolumeName,
    path: Option<MountPath>,
}

/// Where a container sees a persistent directory.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct MountPath(String);

impl TryFrom<String> for MountPath {
    type Error = &'static str;

    fn try_from(path: String) -> Result<Self, &'static str> {
        let is_plain = path.starts_with('/') && path.len() > 1 && path.len() <= 1_024;
        if !is_plain || path.split('/').any(|part| matches!(part, "." | "..")) || path.chars().any(char::is_control) {
            return Err("a path in a container begins with `/` and has no `..`");
        }
        Ok(Self(path))
    }
}

impl<'de> Deserialize<'de> for Volume {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VolumeVisitor)
    }
}

struct VolumeVisitor;

impl<'de> Visitor<'de> for VolumeVisitor {
    type Value = Volume;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, or a table with `name`")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Volume, E> {
        let name = name.parse().map_err(E::custom)?;
        Ok(Volume(VolumeMount { name, path: None }))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Volume, A::Error> {
        let VolumeTable { name, path } = VolumeTable::deserialize(MapAccessDeserializer::new(table))?;
        Ok(Volume(VolumeMount { name, path: path.map(|path| path.0) }))
    }
}

fn volumes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<VolumeMount>, D::Error> {
    let mut volumes: Vec<VolumeMount> = Vec::new();
    for Volume(volume) in Vec::deserialize(deserializer)? {
        if volumes.iter().any(|known| known.name == volume.name) {
            return Err(de::Error::custom(format!("the volume `{}` is there twice", volume.name)));
        }
        volumes.push(volume);
    }
    Ok(volumes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn command(words: &[&str]) -> Command {
        Command(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_key_of_the_documentation_is_understood() {
        let example: String = include_str!("ployer_toml.rs")
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| format!("{}\n", line.trim_start_matches("//!").trim_start()))
            .collect();

        let toml = parse(&example).unwrap();

        assert_eq!(toml.build(), Some(&command(&["npm", "ci"])));
        assert_eq!(toml.release(), Some(&command(&["npm", "run", "migrate"])));
        assert_eq!(toml.health().unwrap().as_str(), "/healthz");
        assert_eq!((toml.static_root(), toml.port()), (Some(Path::new("dist")), Some(8080)));
        assert_eq!(toml.rollout(), Some(Rollout::StopFirst));
        let volumes: Vec<_> =
            toml.volumes().iter().map(|volume| (volume.name.as_str(), volume.path.as_deref())).collect();
        assert_eq!(volumes, [("uploads", None), ("cache", Some("/var/cache/app"))]);
        let [web, worker] = &toml.processes(None).unwrap()[..] else { panic!("two processes") };
        assert_eq!((web.name.as_str(), web.replicas), ("web", 2));
        assert_eq!(web.command, Some(command(&["node", "server.js"])));
        let limits = Limits { memory_bytes_max: Some(512 << 20), cpus_max: Some(1.5), pids_max: Some(200) };
        assert_eq!(web.limits, limits);
        assert_eq!((worker.replicas, worker.limits), (1, Limits::default()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_column() {
        for (text, place, reason) in [
            ("\nbuilt = \"x\"", "line 2, column 1", "unknown field `built`"),
            ("[processes]\nweb = { comand = \"x\" }", "line 2, column 9", "unknown field `comand`"),
            ("[processes.web]\ncommand = \"a\"\nreplica = 2", "line 3, column 1", "unknown field `replica`"),
            ("[processes]\nWeb = \"x\"", "line 2, column 1", "lower-case letters"),
            ("build = \"a && b\"", "line 1, column 9", "sh -c 'a && b'"),
            ("build = 3", "line 1, column 9", "a command: text, or a list of words"),
            ("build = []", "line 1, column 9", "the command is empty"),
            ("port = 0", "line 1, column 8", "from 1 to 65535"),
            ("port = 70000", "line 1, column 8", "from 1 to 65535"),
            ("rollout = \"big-bang\"", "line 1, column 11", "`start-first` or `stop-first`"),
            ("health = \"health\"", "line 1, column 10", "begin with `/`"),
            ("static = \"../etc\"", "line 1, column 10", "may not leave the repository"),
            ("volumes = [\"a\", \"a\"]", "line 1, column 11", "the volume `a` is there twice"),
            ("volumes = [{ name = \"a\", path = \"b\" }]", "line 1, column 33", "begins with `/`"),
            ("volumes = [\"A\"]", "line 1, column 12", "lower-case letters"),
            ("[processes.web]\nmemory = \"lots\"", "line 2, column 10", "`lots` is no amount of memory"),
            ("[processes.web]\ncpus = -1", "line 2, column 8", "cpus are more than 0"),
            ("[processes.web]\npids = 0", "line 2, column 8", "pids are more than 0"),
            ("[processes.web]\nreplicas = 1001", "line 2, column 12", "from 0 to 1000"),
            ("build = \"x", "line 1, column", "basic string"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(place), "{text}: {error}");
            assert!(error.to_string().contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn memory_has_units_of_thousands_and_of_1024() {
        for (text, bytes) in [("1", 1), ("2kB", 2_000), ("2 KiB", 2_048), ("512M", 512 << 20), ("1 GB", 1_000_000_000)]
        {
            assert_eq!(memory(text), Some(bytes), "{text}");
        }
        for text in ["", "0", "-1", "1.5 GB", "1 XB", "MB", "99999999999999999 GB"] {
            assert_eq!(memory(text), None, "{text}");
        }
        assert_eq!(
            parse("[processes.web]\nmemory = 1024").unwrap().processes["web".parse::<ProcessName>().as_ref().unwrap()]
                .limits
                .memory_bytes_max,
            Some(1024)
        );
    }

    #[test]
    fn a_procfile_gives_the_commands_where_none_is_here() {
        let procfile = super::super::procfile::parse("web: a\nworker: b").unwrap();
        let limits = parse("[processes.web]\nreplicas = 3").unwrap();
        let commands = parse("[processes]\nweb = \"c\"").unwrap();
        let unknown = parse("[processes.cron]\nreplicas = 3").unwrap();

        let added = limits.processes(Some(&procfile)).unwrap();
        let own = commands.processes(Some(&procfile)).unwrap();

        let told: Vec<_> = added.iter().map(|p| (p.name.as_str(), p.replicas, p.command.clone().unwrap().0)).collect();
        assert_eq!(told, [("web", 3, vec!["a".to_owned()]), ("worker", 1, vec!["b".to_owned()])]);
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].command, Some(command(&["c"])));
        assert!(unknown.processes(Some(&procfile)).unwrap_err().to_string().contains("`cron` has no command"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\PC|\n){0,200}") {
            parse(&text).ok();
        }

        #[test]
        fn any_value_of_a_known_key_is_read_or_refused(
            key in "build|release|health|static|port|rollout|volumes|processes|processes\\.web",
            value in "\"\\PC{0,20}\"|-?[0-9]{1,12}|\\[\"\\PC{0,9}\"\\]|\\{ command = \"\\PC{0,9}\" \\}|true|1\\.5",
        ) {
            if let Ok(toml) = parse(&format!("{key} = {value}")) {
                toml.processes(None).ok();
            }
        }
    }
}
