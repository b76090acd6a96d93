//! The composition: which parts a process starts, and how it ends. A part that fails ends the process.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use ficus_orchestrator::{Backend, Listener, Orchestrator, Tls};
use ficus_proxy::{Gateway, Sockets};
use ficus_rules::Timestamp;
use ficus_rules::lease::BELIEVED;
use ficus_rules::spec::Known;
use ficus_sync_agent::Agent;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::exit::BadConfiguration;
use crate::http::Http;
use crate::{handover, keys, link, metrics, ofrep, signals};

/// For how long a gateway waits for word from the orchestrator before it accepts connections all the same.
const FIRST_STATE: Duration = Duration::from_secs(2);

/// `ficus run`: everything in this process.
pub(crate) fn everything(config: &Config, admin: &[String]) -> Result<()> {
    if config.etcd.is_some() {
        let why = "[orchestrator.etcd] is for orchestrators of a fleet: start `ficus orchestrator`, `ficus gateway` and `ficus agent`";
        anyhow::bail!(BadConfiguration(why.to_owned()));
    }
    let mut sockets = handover::inherited();
    let listening = handover::admin(&config.admin_listen, &mut sockets).with_context(|| taken(&config.admin_listen))?;
    let gateway = gateway(config, sockets)?;
    runtime()?.block_on(async {
        let orchestrator = orchestrator(config).await?;
        let agent = agent(config).await?;
        let router = orchestrator.router().merge(metrics::router(&config.tokens)).merge(keys_router(&gateway));
        let router = router.merge(ofrep::router(&config.tokens, gateway.clone()));
        let http = Http::new(admin, config.admin_token.clone(), &config.admin_trust);
        let links = async {
            tokio::join!(link::gateway::run(gateway.clone(), http.clone()), link::agent::run(agent.clone(), http.clone()));
            Ok(())
        };
        let serving = serve(Listener::over(listening, config.admin_tls.as_ref())?, config.admin_tls.as_ref(), router)?;
        info!(admin = %config.admin_listen, gateway = ?config.gateway.addresses(), "ficus runs");
        let parts = async { tokio::try_join!(serving, links).map(drop) };
        let ended = until_ended(Some(gateway.clone()), Some(orchestrator.clone()), None, parts).await;
        agent.stop().await;
        orchestrator.stop().await;
        ended
    })
}

/// `ficus gateway`: a gateway that follows an orchestrator elsewhere.
pub(crate) fn gateway_alone(config: &Config, admin: &[String]) -> Result<()> {
    let program = handover::Program::remember()?;
    let mut sockets = handover::inherited();
    let listening = handover::admin(&config.gateway.admin_listen, &mut sockets).with_context(|| taken(&config.gateway.admin_listen))?;
    let admin_socket = listening.try_clone()?;
    let gateway = gateway(config, sockets)?;
    runtime()?.block_on(async {
        let router = Router::new().route("/health", get(|| async { "ok\n" })).merge(ready_router(&gateway));
        let router = router.merge(metrics::router(&config.tokens)).merge(keys_router(&gateway));
        let router = router.merge(ofrep::router(&config.tokens, gateway.clone()));
        let serving = serve(Listener::over(listening, config.admin_tls.as_ref())?, config.admin_tls.as_ref(), router)?;
        // Whoever takes over has the admin listener too; the link goes on for as long as this process forwards anything.
        let (taken_over, mut taken) = watch::channel(false);
        let serving = async {
            tokio::select! {
                served = serving => served,
                Ok(_) = taken.wait_for(|taken| *taken) => std::future::pending().await,
            }
        };
        let http = Http::new(admin, config.admin_token.clone(), &config.admin_trust);
        let links = async {
            link::gateway::run(gateway.clone(), http.clone()).await;
            Ok(())
        };
        info!(admin = %config.gateway.admin_listen, gateway = ?config.gateway.addresses(), orchestrators = ?admin, "the gateway runs");
        let parts = async { tokio::try_join!(serving, links).map(drop) };
        let successor = Successor { program, admin: admin_socket, taken_over };
        let ended = until_ended(Some(gateway.clone()), None, Some(successor), parts).await;
        link::gateway::farewell(&gateway, &http).await;
        ended
    })
}

/// `ficus agent`: an agent that follows an orchestrator elsewhere.
pub(crate) fn agent_alone(config: &Config, admin: &[String]) -> Result<()> {
    runtime()?.block_on(async {
        let agent = agent(config).await?;
        let router = Router::new().route("/health", get(|| async { "ok\n" })).merge(metrics::router(&config.tokens));
        let serving = serve(bind(&config.agent_listen, config.admin_tls.as_ref()).await?, config.admin_tls.as_ref(), router)?;
        let links = async {
            link::agent::run(agent.clone(), Http::new(admin, config.admin_token.clone(), &config.admin_trust)).await;
            Ok(())
        };
        info!(listen = config.agent_listen, orchestrators = ?admin, "the agent runs");
        let ended = until_ended(None, None, None, async { tokio::try_join!(serving, links).map(drop) }).await;
        agent.stop().await;
        ended
    })
}

/// `ficus orchestrator`: an orchestrator for gateways and agents elsewhere.
pub(crate) fn orchestrator_alone(config: &Config) -> Result<()> {
    runtime()?.block_on(async {
        let orchestrator = orchestrator(config).await?;
        let router = orchestrator.router().merge(metrics::router(&config.tokens));
        let router = router.merge(ofrep::router(&config.tokens, orchestrator.clone()));
        let serving = serve(bind(&config.admin_listen, config.admin_tls.as_ref()).await?, config.admin_tls.as_ref(), router)?;
        info!(admin = %config.admin_listen, "the orchestrator runs");
        let ended = until_ended(None, Some(orchestrator.clone()), None, serving).await;
        orchestrator.stop().await;
        ended
    })
}

/// What it takes to start the process that follows this one.
struct Successor {
    program: handover::Program,
    admin: std::net::TcpListener,
    /// Told when it has taken over.
    taken_over: watch::Sender<bool>,
}

/// Runs `parts` and the gateway's own threads until a signal comes or one of them fails. SIGHUP reads the rules again.
///
/// The parts go on while the gateway finishes what is under way: held writes are released by what they bring, and the
/// orchestrator waits for the counts that they report. A second signal ends the process at once.
///
/// SIGUSR2 has `successor` started over the same sockets; once it serves, this process ends as at a signal. Until then, and
/// until it has ended, it reports under a name of its own: both are reckoned with.
async fn until_ended(
    gateway: Option<Gateway>,
    orchestrator: Option<Orchestrator>,
    mut successor: Option<Successor>,
    parts: impl Future<Output = Result<()>>,
) -> Result<()> {
    let mut ending = signals::Ending::listen()?;
    let mut hangup = signals::hangup()?;
    let mut make_way = signals::make_way()?;
    let mut starting: Option<tokio::task::JoinHandle<Result<u32>>> = None;
    let leaving = gateway.clone();
    let mut stepping_back: Option<tokio::time::Instant> = None;
    let (shutdown, watched) = watch::channel(false);
    let (mut carrying, mut feeding) = (gateway.is_some(), true);
    let proxying = proxy(gateway, watched);
    tokio::pin!(proxying, parts);
    let ended = loop {
        tokio::select! {
            () = ending.wait() => break Ok(()),
            ended = &mut parts => {
                feeding = false;
                break ended.and(Err(anyhow!("a part ended by itself")));
            }
            ended = &mut proxying, if carrying => {
                carrying = false;
                break ended.and(Err(anyhow!("the gateway ended by itself")));
            }
            _ = hangup.recv() => reload(orchestrator.as_ref()).await,
            _ = make_way.recv() => match (successor.as_ref(), leaving.as_ref()) {
                (Some(successor), Some(gateway)) if starting.is_none() => {
                    info!("a new process is started over the same sockets");
                    let mut sockets = gateway.sockets()?;
                    sockets.push(successor.admin.try_clone()?.into());
                    let (program, gateway) = (successor.program.clone(), gateway.clone());
                    stepping_back = None;
                    starting = Some(tokio::spawn(async move {
                        gateway.step_aside().await;
                        program.start(sockets).await
                    }));
                }
                (Some(_), _) => warn!("a new process is being started already"),
                (None, _) => warn!("only `ficus gateway` makes way for a newer binary: the state of the other parts has one owner at a time"),
            },
            started = async { starting.as_mut().expect("checked").await }, if starting.is_some() => {
                starting = None;
                match started.context("the start panicked").flatten() {
                    Ok(pid) => {
                        info!(pid, "the new process serves, this one makes way");
                        leaving.as_ref().inspect(|gateway| gateway.hand_over());
                        if let Some(successor) = successor.take() {
                            let _ = successor.taken_over.send(true);
                        }
                        break Ok(());
                    }
                    Err(error) => {
                        error!("{error:#}; this process goes on");
                        // Until then a report of the other one, which was later, may make ours count for nothing.
                        stepping_back = Some(tokio::time::Instant::now() + BELIEVED + Duration::from_secs(1));
                    }
                }
            }
            () = tokio::time::sleep_until(stepping_back.unwrap_or_else(tokio::time::Instant::now)), if stepping_back.is_some() => {
                stepping_back = None;
                leaving.as_ref().inspect(|gateway| gateway.step_back());
            }
        }
    };
    drop(successor);
    info!("ending: requests under way may finish; a second signal cuts them off");
    tokio::spawn(async move {
        ending.wait().await;
        warn!("ending at once");
        std::process::exit(crate::exit::CUT_OFF);
    });
    let _ = shutdown.send(true);
    while carrying {
        tokio::select! {
            _ = &mut proxying => carrying = false,
            failed = &mut parts, if feeding => {
                feeding = false;
                warn!(error = failed.err().map(|error| format!("{error:#}")), "a part ended while requests were under way");
            }
        }
    }
    ended
}

/// Carries requests on the gateway's own threads, once the orchestrator has told it what to do and it may; without that,
/// after a moment.
async fn proxy(gateway: Option<Gateway>, mut shutdown: watch::Receiver<bool>) -> Result<()> {
    let Some(gateway) = gateway else { return Ok(()) };
    let told = async {
        if tokio::time::timeout(FIRST_STATE, gateway.ready()).await.is_err() {
            warn!("no word from the orchestrator yet: the gateway starts without it, and refuses writes until then");
        }
    };
    tokio::select! {
        () = told => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    handover::ready();
    let carried = tokio::task::spawn_blocking(move || gateway.run(shutdown)).await;
    carried.context("the gateway panicked")?.context("the gateway failed")
}

async fn reload(orchestrator: Option<&Orchestrator>) {
    let Some(orchestrator) = orchestrator else { return };
    match orchestrator.reload().await {
        Ok(Some(generation)) => info!(generation, "the rules were read again"),
        Ok(None) => info!("another orchestrator leads: the rules are read when this one does"),
        Err(complaints) => warn!(complaints = complaints.len(), "the rules are bad, the last good ones serve"),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("ficus").build().context("cannot start the runtime")
}

/// Binds now, so that a taken port is an error at once.
async fn bind(address: &str, tls: Option<&Tls>) -> Result<Listener> {
    Listener::bind(address, tls).await.with_context(|| taken(address))
}

fn taken(address: &str) -> String {
    format!("cannot listen on {address} (is another ficus running?)")
}

/// Serves an admin listener.
fn serve(listener: Listener, tls: Option<&Tls>, router: Router) -> Result<impl Future<Output = Result<()>> + use<>> {
    let address: SocketAddr = listener.local_addr()?;
    tls.into_iter().for_each(metrics::certificate);
    Ok(async move {
        let served = listener.serve(router).await;
        if let Err(error) = &served {
            error!(%address, %error, "the admin listener failed");
        }
        served.context("the admin listener failed")
    })
}

fn keys_router(gateway: &Gateway) -> Router {
    let gateway = gateway.clone();
    Router::new().route("/.well-known/jwks.json", get(move || async move { axum::Json(gateway.jwks()) }))
}

/// Whether callers may be sent to a gateway: it knows a state to serve by, whoever told it.
fn ready_router(gateway: &Gateway) -> Router {
    let gateway = gateway.clone();
    let answer = move || async move {
        match tokio::time::timeout(Duration::ZERO, gateway.informed()).await {
            Ok(()) => (StatusCode::OK, "ok\n"),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the orchestrator has not answered yet, and there is no last good state\n"),
        }
    };
    Router::new().route("/ready", get(answer))
}

fn gateway(config: &Config, sockets: Sockets) -> Result<Gateway> {
    let upstreams = config.upstreams.iter().map(|(name, upstream)| (name.clone(), upstream.server.clone())).collect();
    let settings = &config.gateway;
    if settings.listeners.is_empty() {
        bail!(BadConfiguration("the gateway listens nowhere: write below [gateway] of ficus.toml listen = [\"127.0.0.1:8080\"]".into()));
    }
    let config = ficus_proxy::Config {
        name: settings.name.clone(),
        listeners: settings.listeners.clone(),
        certificates: settings.certificates.clone(),
        strict_transport: settings.strict_transport,
        public: settings.public.clone(),
        upstreams,
        default_upstream: settings.default_upstream.clone(),
        trusted_proxies: settings.trusted_proxies.clone(),
        identity: config.identity.clone(),
        marker_key: keys::load_or_make(&config.state, "marker.key")?.to_vec(),
        token_key: keys::load_or_make(&config.state, "token.key")?,
        snapshot_file: Some(config.state.join("gateway-snapshot.json")),
        hold: ficus_proxy::HoldLimits { max_requests: settings.hold_requests, max_wait: settings.hold_wait },
        timeouts: ficus_proxy::Timeouts { connect: settings.connect_timeout, answer: settings.answer_timeout },
        limits: settings.limits.clone(),
        redis: settings.redis.clone(),
        cache: settings.cache.clone(),
        grace: settings.grace,
        threads: settings.threads,
        expose_side: settings.expose_side,
        hide_paths_after: settings.hide_paths_after.clone(),
        access_log: settings.access_log.clone(),
        tracing: settings.tracing.clone(),
    };
    let gateway = Gateway::over(config, sockets);
    gateway.map_err(|error| anyhow!(error).context("cannot set the gateway up"))
}

async fn orchestrator(config: &Config) -> Result<Orchestrator> {
    std::fs::create_dir_all(&config.state).with_context(|| format!("cannot make {}", config.state.display()))?;
    let started = Orchestrator::start(ficus_orchestrator::Config {
        rules_dir: config.rules.clone(),
        state: match &config.etcd {
            Some(etcd) => Backend::Etcd { etcd: etcd.clone(), file: state_file(config) },
            None => Backend::Sqlite(state_file(config)),
        },
        known: known(config),
        tokens: config.tokens.clone(),
        prometheus: config.prometheus.clone(),
        notifiers: config.notifiers.clone(),
        validity: config.validity,
        switch_deadline: config.switch_deadline,
        ..Default::default()
    });
    started.await.map_err(|error| match error {
        ficus_orchestrator::Error::Rules(complaints) => {
            let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            anyhow!(BadConfiguration(lines.join("\n")))
        }
        other => anyhow!(other).context("cannot start the orchestrator"),
    })
}

async fn agent(config: &Config) -> Result<Agent> {
    let databases = config.upstreams.iter().filter_map(|(name, upstream)| Some((name.clone(), upstream.database.clone()?))).collect();
    let settings = ficus_sync_agent::Config {
        known_upstreams: known(config).upstreams,
        poll: config.agent_poll,
        batch_rows: config.agent_batch,
        copy_rows_per_second: config.agent_copy,
        copy_max_load: config.agent_copy_max_load,
        buses: config.buses.clone(),
        ..ficus_sync_agent::Config::new(&format!("{}-agent", config.gateway.name), databases)
    };
    let started = Agent::start(settings);
    started.await.map_err(|error| anyhow!(error).context("cannot start the agent"))
}

/// Where one orchestrator alone keeps its state.
pub(crate) fn state_file(config: &Config) -> PathBuf {
    config.state.join("orchestrator.sqlite3")
}

/// What the configuration makes known to the rules.
pub(crate) fn known(config: &Config) -> Known {
    Known {
        upstreams: config.upstreams.keys().cloned().collect(),
        counts_together: Some(config.gateway.redis.is_some()),
        buses: Some(config.buses.keys().cloned().collect()),
        answered: config.gateway.public.paths(),
        today: Some(Timestamp::from(SystemTime::now())),
    }
}
