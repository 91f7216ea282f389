//! Histories: what users and the world do to applications, scene by scene.

use std::time::Duration;

use super::faults::Mishap;
use super::program::Program;
use super::random::Random;
use super::version::{Effort, Version};
use crate::model::{Exit, ProcessName, RollbackEnv, Step};

/// What happens in one history, besides its faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// What it is called.
    pub name: String,
    /// What happens to each application, by itself; they go on side by side.
    pub applications: Vec<Vec<Scene>>,
}

/// One thing that happens to an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scene {
    /// A version becomes the head of its repository.
    Push(Version),
    /// A user deploys the head.
    Deploy,
    /// A user deploys the version of that number.
    DeployCommit(u32),
    /// A user returns to the release before.
    RollBack(RollbackEnv),
    /// A user cancels the newest deployment, if it has not ended.
    Cancel,
    /// A user wishes so many replicas.
    Scale(ProcessName, u32),
    /// A user stops the application.
    Stop,
    /// A user starts it again.
    Start,
    /// A user restarts it.
    Restart,
    /// A user deletes it.
    Delete {
        /// Its persistent directories too.
        volumes: bool,
    },
    /// Something happens in the world.
    Mishap(Mishap),
    /// Time passes.
    Wait(Duration),
    /// Time passes until the newest deployment is at a step, or has ended.
    UntilStep(Step),
    /// Time passes until the newest deployment has ended and nothing is under way.
    UntilRest,
}

impl History {
    fn of(name: &str, scenes: Vec<Scene>) -> Self {
        Self { name: name.to_owned(), applications: vec![scenes] }
    }

    /// The basic histories: every fault, and every pair of faults, is tried on each.
    pub fn basic() -> Vec<Self> {
        use Scene::{Cancel, Delete, Deploy, Push, Restart, RollBack, Scale, Start, Stop, UntilRest, UntilStep};
        let first = || vec![Push(Version::web(1)), Deploy, UntilRest];
        let then = |scenes: Vec<Scene>| first().into_iter().chain(scenes).collect();
        let two_with_volume = vec![
            Push(Version::web(1).with_volume()),
            Deploy,
            UntilRest,
            Push(Version::web(2).with_volume()),
            Deploy,
            UntilRest,
        ];
        let command = Version::web(2).with_release_command(Duration::from_secs(2), Exit::Code(0));
        let two_replicas = Version::web(2).with_replicas(2).with_worker(Program::silent());
        vec![
            Self::of("deploy", first()),
            Self::of("redeploy", then(vec![Push(two_replicas), Deploy, UntilRest])),
            Self::of("redeploy-stop-first", two_with_volume),
            Self::of("failing", then(vec![Push(Version::running(2, Program::silent())), Deploy, UntilRest])),
            Self::of("cancel", then(vec![Push(Version::web(2)), Deploy, UntilStep(Step::Gate), Cancel, UntilRest])),
            Self::of(
                "rollback",
                then(vec![Push(Version::web(2)), Deploy, UntilRest, RollBack(RollbackEnv::Release), UntilRest]),
            ),
            Self::of("scale", then(vec![Scale(ProcessName::web(), 3), UntilRest, Scale(ProcessName::web(), 1)])),
            Self::of("stop-start", then(vec![Stop, UntilRest, Start, UntilRest])),
            Self::of("restart", then(vec![Restart, UntilRest])),
            Self::of("delete", then(vec![Delete { volumes: true }, UntilRest])),
            Self::of("release-command", then(vec![Push(command), Deploy, UntilRest])),
        ]
    }

    /// The basic history of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::basic().into_iter().find(|history| history.name == name)
    }

    /// A history that follows from a seed.
    pub fn drawn(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x0005_ce4e);
        let count = if random.chance(300) { 2 } else { 1 };
        let applications = (0..count).map(|_| drawn_scenes(&mut random)).collect();
        Self { name: "drawn".to_owned(), applications }
    }
}

fn drawn_scenes(random: &mut Random) -> Vec<Scene> {
    let volume = random.chance(300);
    let mut scenes = vec![Scene::Push(drawn_version(random, 1, volume, 100)), Scene::Deploy];
    for number in 0..2 + random.below(6) {
        scenes.push(drawn_pause(random));
        scenes.extend(drawn_wish(random, 2 + u32::try_from(number).unwrap_or_default(), volume));
    }
    if random.chance(100) {
        scenes.push(drawn_pause(random));
        scenes.push(Scene::Delete { volumes: random.chance(500) });
    }
    scenes
}

fn drawn_pause(random: &mut Random) -> Scene {
    let steps = [Step::Checkout, Step::Build, Step::Start, Step::Gate, Step::Switch];
    match random.below(10) {
        0..=4 => Scene::UntilRest,
        5 | 6 => Scene::UntilStep(random.pick(&steps).copied().unwrap_or(Step::Gate)),
        _ => Scene::Wait(random.millis(0..9_000)),
    }
}

fn drawn_wish(random: &mut Random, number: u32, volume: bool) -> Vec<Scene> {
    let env = if random.chance(800) { RollbackEnv::Release } else { RollbackEnv::Current };
    match random.below(20) {
        0..=6 => vec![Scene::Push(drawn_version(random, number, volume, 350)), Scene::Deploy],
        7 => vec![Scene::Deploy],
        8 => vec![Scene::DeployCommit(1 + u32::try_from(random.below(number.into())).unwrap_or_default())],
        9..=11 => vec![Scene::RollBack(env)],
        12 | 13 => vec![Scene::Cancel],
        14 => {
            let count = u32::try_from(random.below(4)).unwrap_or_default();
            vec![Scene::Scale(ProcessName::web(), count)]
        }
        15 => vec![Scene::Stop],
        16 => vec![Scene::Start],
        17 => vec![Scene::Restart],
        _ => vec![Scene::Mishap(random.pick(&Mishap::ALL).copied().unwrap_or(Mishap::ReplicaDies))],
    }
}

/// A version; `bad` times in a thousand one that does not come to serve.
fn drawn_version(random: &mut Random, number: u32, volume: bool, bad: u64) -> Version {
    let mut web = Program::listening(random.millis(20..3_000));
    web.ends_after = match random.below(6) {
        0 => None,
        1 => Some(random.millis(1_000..9_000)),
        _ => Some(random.millis(10..300)),
    };
    let mut version = Version::running(number, web);
    version.volume = volume;
    version.health_path = random.chance(500);
    version.build.takes = random.millis(50..8_000);
    version.checkout.takes = random.millis(50..2_000);
    if random.chance(250) {
        version = version.with_replicas(2);
    }
    if random.chance(250) {
        version = version.with_worker(Program::silent());
    }
    if random.chance(250) {
        version = version.with_release_command(random.millis(100..5_000), Exit::Code(0));
    }
    if random.chance(bad) { spoilt(random, version) } else { version }
}

fn spoilt(random: &mut Random, mut version: Version) -> Version {
    let web = version.processes.iter_mut().find(|(name, _, _)| name.is_web());
    let Some((_, web, _)) = web else { return version };
    match random.below(7) {
        0 => web.listens_after = None,
        1 => web.exits_after = Some((random.millis(0..500), Exit::Code(1))),
        2 => web.exits_after = Some((random.millis(5_000..60_000), Exit::Code(1))),
        3 => (web.status, version.health_path) = (500, true),
        4 => version.build = Effort::failing(version.build.takes),
        5 => version.checkout = Effort::failing(version.checkout.takes),
        _ => version = version.with_release_command(random.millis(100..5_000), Exit::Code(1)),
    }
    version
}
