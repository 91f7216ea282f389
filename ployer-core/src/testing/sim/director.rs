//! The director: starts engines in a world, kills and restarts them as the faults say, and plays the scenes.
//!
//! An engine is a task that can be dropped at any moment, which is what a crash looks like; its successor begins over
//! the same store and world. A history ends at its first breach, or when everything has come to rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::faults::{Faults, Mishap};
use super::history::{History, Scene};
use super::servers::{SimProbe, SimSecrets, SimServers};
use super::source::SimSource;
use super::store::SimStore;
use super::user::User;
use super::world::{EngineNumber, Order, SimWorld};
use crate::clock::Clock;
use crate::config::Settings;
use crate::engine::{Engine, EngineParts};
use crate::error::{ErrorKind, Result};
use crate::model::{
    Actor, ApplicationId, EventSeq, Installation, InstanceId, NewApplication, RollbackEnv, RuntimeKind, Server,
    ServerId, Version, Wanted,
};
use crate::store::Commit;
use crate::store::memory::MemoryStore;

/// How long an engine that is stopped in good order may take.
const STOPS_WITHIN: Duration = Duration::from_secs(60);
/// How long a scene waits for what it waits for; a deployment's deadlines end long before.
const SCENE_MAX: Duration = Duration::from_secs(20 * 60);
/// How long everything may take to come to rest when faults have ceased.
const REST_WITHIN: Duration = Duration::from_secs(40 * 60);

/// Plays a history.
pub(super) struct Director {
    pub(super) world: SimWorld,
    pub(super) user: User,
    memory: Arc<MemoryStore>,
    settings: Arc<Settings>,
    instance: InstanceId,
    news: watch::Sender<EventSeq>,
    engines: BTreeMap<EngineNumber, Running>,
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Director {
    /// A director over an empty store.
    pub(super) async fn new(world: SimWorld, settings: Settings) -> Result<Self> {
        let memory = Arc::new(MemoryStore::new());
        let clock = world.clock().clone();
        let (instance, server) = (InstanceId::new(&clock), ServerId::new(&clock));
        let news = watch::Sender::new(EventSeq::default());
        let user = User::new(&world, Arc::clone(&memory), server, news.clone());
        let row = Server::local(server, "local".parse()?, RuntimeKind::Process, clock.now());
        let installation = Installation { version: Version::NEW, instance, secret_key_id: None };
        user.commit(Commit::new(Actor::System, clock.now()).insert(row).insert(installation)).await?;
        world.with(|world| world.judge.instance = Some(instance));
        Ok(Self { world, user, memory, settings: Arc::new(settings), instance, news, engines: BTreeMap::new() })
    }

    /// Plays `history` to its end, with `faults`; what came of it is in the world.
    pub(super) async fn play(&mut self, history: &History, faults: Faults) -> Result<()> {
        let calendar = tokio::spawn(self.world.clone().keep_calendar());
        self.world.with(|world| world.faults = faults);
        self.start_engine();
        let mut scenes = std::pin::pin!(play_all(self.world.clone(), self.user.clone(), history.clone()));
        let mut is_over = false;
        while !self.world.with(|world| world.judge.breach.is_some()) {
            tokio::select! {
                biased;
                () = breach(&self.world) => {}
                order = next_order(&self.world) => self.follow(order).await,
                () = ended(&mut self.engines) => self.start_if_none().await,
                played = &mut scenes, if !is_over => {
                    played?;
                    is_over = true;
                    self.world.with(|world| world.faults.cease());
                }
                rested = rest(&self.world), if is_over => {
                    self.world.with(|world| if rested { world.judge_rest() } else { world.breach(3, "nothing comes to rest") });
                    break;
                }
            }
        }
        self.end().await;
        calendar.abort();
        Ok(())
    }

    async fn end(&mut self) {
        let all: Vec<_> = self.engines.keys().copied().collect();
        for engine in all {
            self.drop_engine(engine);
        }
    }

    fn start_engine(&mut self) {
        let port = self.world.admit();
        let engine = port.engine;
        self.world.with(|world| {
            world.note(format_args!("== engine {} starts", engine.0));
            if world.routing.down {
                world.proxy_is_back();
            }
        });
        let parts = EngineParts {
            store: Arc::new(SimStore::new(port.clone(), Arc::clone(&self.memory))),
            secrets: Arc::new(SimSecrets(port.clone())),
            servers: Arc::new(SimServers::new(&port)),
            source: Arc::new(SimSource(port.clone())),
            probe: Arc::new(SimProbe(port)),
            clock: Arc::new(self.world.clock().clone()),
            settings: Arc::clone(&self.settings),
            instance: self.instance,
            holder: format!("engine {}", engine.0),
            alone: false,
            news: self.news.clone(),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(run_engine(self.world.clone(), engine, parts, stop.clone()));
        self.engines.insert(engine, Running { stop, task });
    }

    fn drop_engine(&mut self, engine: EngineNumber) {
        if let Some(running) = self.engines.remove(&engine) {
            running.task.abort();
        }
    }

    async fn start_if_none(&mut self) {
        self.engines.retain(|_, running| !running.task.is_finished());
        if self.engines.is_empty() {
            let pause = self.world.with(|world| world.random.millis(500..4_000));
            sleep(pause).await;
            self.world.with(|world| world.trouble(Duration::ZERO));
            self.start_engine();
        }
    }

    async fn follow(&mut self, order: Order) {
        match order {
            Order::Killed(engine) => {
                self.drop_engine(engine);
                let pause = self.world.with(|world| world.random.millis(200..20_000));
                sleep(pause).await;
                self.start_if_none().await;
            }
            Order::Mishap(Mishap::EngineRestarts) => self.restart_engines().await,
            Order::Mishap(Mishap::SecondEngine) => self.start_engine(),
            Order::Mishap(mishap) => {
                let all = self.world.with(|world| world.judge.stored.applications.keys().copied().collect::<Vec<_>>());
                for id in all {
                    user_mishap(&self.user, id, mishap).await;
                }
            }
        }
    }

    async fn restart_engines(&mut self) {
        for (engine, running) in std::mem::take(&mut self.engines) {
            running.stop.cancel();
            let mut task = running.task;
            if timeout(STOPS_WITHIN, &mut task).await.is_err() {
                self.world.with(|world| {
                    if !world.is_dead(engine) {
                        world.breach(3, format!("engine {} does not stop", engine.0));
                    }
                });
                task.abort();
            }
            self.world.with(|world| world.ends_in_good_order(engine));
        }
        self.start_if_none().await;
    }
}

/// Runs an engine to its end, and says how that was.
async fn run_engine(world: SimWorld, engine: EngineNumber, parts: EngineParts, stop: CancellationToken) {
    let ended = match Engine::start(parts).await {
        Ok(running) => running.run(stop).await,
        Err(error) => Err(error),
    };
    world.with(|world| match ended {
        Ok(()) => world.note(format_args!("== engine {} has ended", engine.0)),
        Err(error) => world.note(format_args!("== engine {} has ended: {}", engine.0, error.chain())),
    });
    world.with(|world| world.ends_in_good_order(engine));
}

async fn ended(engines: &mut BTreeMap<EngineNumber, Running>) {
    let tasks = engines.values_mut().map(|running| &mut running.task);
    if tasks.len() == 0 {
        return;
    }
    drop(futures_util::future::select_all(tasks).await);
}

async fn breach(world: &SimWorld) {
    world.until(|world| world.judge.breach.is_some().then_some(())).await;
}

async fn next_order(world: &SimWorld) -> Order {
    world.until(|world| world.orders.pop_front()).await
}

/// Waits until nothing is under way for a while; `false` if that takes too long.
async fn rest(world: &SimWorld) -> bool {
    let rested = async {
        let mut calm = 0;
        while calm < 4 {
            sleep(Duration::from_secs(10)).await;
            calm = if world.with(|world| world.is_at_rest()) { calm + 1 } else { 0 };
        }
    };
    timeout(REST_WITHIN, rested).await.is_ok()
}

async fn user_mishap(user: &User, id: ApplicationId, mishap: Mishap) {
    // Whether there was anything to cancel or to return to does not matter.
    match mishap {
        Mishap::UserCancels => drop(user.cancel(id).await),
        Mishap::UserRollsBack => drop(user.roll_back(id, RollbackEnv::Release).await),
        _ => {}
    }
}

async fn play_all(world: SimWorld, user: User, history: History) -> Result<()> {
    let mut ids = Vec::new();
    for number in 0..history.applications.len() {
        let name = format!("app{number}");
        let url = format!("https://example.com/{name}.git");
        let new = NewApplication { git_url: Some(url.parse()?), ..NewApplication::new(name.parse()?) };
        let id = user.create(new).await?;
        world.with(|world| {
            if world.random.chance(200) {
                world.is_stranded(id);
            }
        });
        ids.push(id);
    }
    let plays = ids.into_iter().zip(history.applications).map(|(id, scenes)| play(&world, &user, id, scenes));
    futures_util::future::try_join_all(plays).await?;
    Ok(())
}

async fn play(world: &SimWorld, user: &User, id: ApplicationId, scenes: Vec<Scene>) -> Result<()> {
    for scene in scenes {
        world.with(|world| world.note(format_args!("-- {scene:?}")));
        match play_scene(world, user, id, scene).await {
            // What a user may not do at this moment is refused, and that is all.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                world.with(|world| world.note(format_args!("-- refused: {error}")));
            }
            played => played?,
        }
    }
    Ok(())
}

async fn play_scene(world: &SimWorld, user: &User, id: ApplicationId, scene: Scene) -> Result<()> {
    match scene {
        Scene::Push(version) => {
            if let Some(url) = user.application(id).await?.git_url {
                world.with(|world| world.workshop.push_version(&url, &version))?;
            }
        }
        Scene::Deploy => drop(user.deploy(id).await?),
        Scene::DeployCommit(number) => drop(user.deploy_commit(id, &format!("{number:040x}")).await?),
        Scene::RollBack(env) => drop(user.roll_back(id, env).await?),
        Scene::Cancel => drop(user.cancel(id).await?),
        Scene::Scale(process, count) => user.scale(id, process, count).await?,
        Scene::Stop => user.change(id, "stop", |row| row.wanted = Wanted::Stopped).await?,
        Scene::Start => user.change(id, "start", |row| row.wanted = Wanted::Running).await?,
        Scene::Restart => user.change(id, "restart", |row| row.restarts_wanted += 1).await?,
        Scene::Delete { volumes } => {
            user.change(id, "delete", move |row| row.wanted = Wanted::Deleting { volumes }).await?;
        }
        Scene::Mishap(mishap) => world.with(|world| world.mishap(mishap)),
        Scene::Wait(time) => sleep(time).await,
        Scene::UntilStep(step) => {
            let there = world.until(|world| world.is_at_step(id, step).then_some(()));
            // Waiting ends here; whether the deployment may take so long is checked elsewhere.
            drop(timeout(SCENE_MAX, there).await);
        }
        Scene::UntilRest => {
            let there = world.until(|world| world.rests(id).then_some(()));
            drop(timeout(SCENE_MAX, there).await);
        }
    }
    Ok(())
}
