//! The options of `eva serve` that say who may call, and the task that keeps them fresh.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use crate::signaling::Access;
use crate::signaling::address::{Network, TrustedProxies};
use crate::signaling::auth::Keys;
use crate::signaling::ice::{IceServers, TurnCredentials};
use crate::signaling::limits::Limits;
use crate::signaling::origins::Origins;
use crate::signaling::reload::Watched;
use crate::signaling::server::Patience;
use crate::signaling::tls::Renewal;

/// How often files are looked at, and what is over is forgotten.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Who may call, and how much.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct SafetyArgs {
    /// Key that callers must bring, good for everything.
    #[arg(long, env = "EVA_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// File of keys with a name, scopes and limits each; `eva keys` writes it. Changes count at once.
    #[arg(long, env = "EVA_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Let anybody call who can reach this machine.
    #[arg(long, conflicts_with_all = ["api_key", "keys"])]
    pub(super) open: bool,
    /// Web page elsewhere that may call, like https://app.example; `*` for all.
    #[arg(
        long = "allow-origin",
        env = "EVA_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    origins: Vec<String>,
    /// Reverse proxy whose X-Forwarded-For counts: an address or a network.
    #[arg(
        long = "trusted-proxy",
        env = "EVA_TRUSTED_PROXY",
        value_name = "NETWORK",
        value_delimiter = ','
    )]
    proxies: Vec<Network>,
    /// Requests a second from one address; 0 for no limit. This machine's own has none.
    #[arg(long, env = "EVA_REQUESTS_PER_SECOND", default_value_t = 50, value_name = "N")]
    requests_per_second: u32,
    /// Calls that one address may begin in a minute; 0 for no limit.
    #[arg(long, env = "EVA_CALL_STARTS_PER_MINUTE", default_value_t = 30, value_name = "N")]
    call_starts_per_minute: u32,
    /// Calls at once from one address; half of --max-calls by default.
    #[arg(long, env = "EVA_CALLS_PER_ADDRESS", value_name = "N")]
    calls_per_address: Option<usize>,
    /// Connections at once for requests; calls need none once they are set up.
    #[arg(long, env = "EVA_MAX_CONNECTIONS", default_value_t = 800, value_name = "N")]
    max_connections: usize,
    #[command(flatten)]
    pub(super) ice: IceArgs,
}

/// STUN and TURN servers for callers.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct IceArgs {
    /// STUN or TURN server that callers are told of: stun:HOST, turn:HOST:PORT?transport=tcp,
    /// turns:HOST.
    #[arg(long = "ice-server", env = "EVA_ICE_SERVER", value_name = "URL", value_delimiter = ',')]
    servers: Vec<String>,
    /// The TURN servers' shared secret (coturn: static-auth-secret), for credentials that last
    /// four hours.
    #[arg(long, env = "EVA_TURN_SECRET", hide_env_values = true, conflicts_with = "turn_user")]
    turn_secret: Option<String>,
    /// Name at the TURN servers, in place of a secret.
    #[arg(long, env = "EVA_TURN_USER", requires = "turn_password")]
    turn_user: Option<String>,
    /// Its password.
    #[arg(long, env = "EVA_TURN_PASSWORD", hide_env_values = true, requires = "turn_user")]
    turn_password: Option<String>,
}

impl IceArgs {
    /// The servers, checked.
    pub(super) fn servers(&self) -> anyhow::Result<IceServers> {
        let credentials = match (&self.turn_secret, &self.turn_user, &self.turn_password) {
            (Some(secret), ..) => TurnCredentials::Timed {
                secret: secret.clone(),
                ttl: crate::signaling::ice::TURN_TTL,
            },
            (None, Some(username), Some(password)) => {
                TurnCredentials::Fixed { username: username.clone(), password: password.clone() }
            }
            _ => TurnCredentials::None,
        };
        IceServers::new(&self.servers, credentials).context("in --ice-server")
    }
}

impl SafetyArgs {
    /// Who may call; an open gateway beyond this machine must be asked for.
    pub(super) fn access(&self, listen: SocketAddr, places: usize) -> anyhow::Result<Access> {
        let local = listen.ip().is_loopback();
        let mut origins = Origins::allowing(&self.origins)
            .map_err(|reason| anyhow!("{reason}"))
            .context("in --allow-origin")?;
        let access = match self.load_keys()? {
            Some(keys) if keys.is_empty() => bail!(
                "the file given with --keys has no key yet, so nobody could call; make one with \
                 `eva keys new NAME`"
            ),
            Some(keys) => Access::with_keys(keys),
            None if local || self.open => {
                if local {
                    origins = origins.with_local_hosts_only();
                }
                Access::open()
            }
            None => bail!(
                "listening on {listen} lets others call: give a key with --api-key (or \
                 EVA_API_KEY), several with --keys, or say --open to let anybody"
            ),
        };
        let mut limits = Limits::for_places(places);
        limits.requests_per_second = NonZeroU32::new(self.requests_per_second);
        limits.call_starts_per_minute = NonZeroU32::new(self.call_starts_per_minute);
        if let Some(calls) = self.calls_per_address {
            limits.calls.per_address = calls;
        }
        let proxies = TrustedProxies::new(self.proxies.clone());
        Ok(access.limited(&limits).for_origins(origins).behind(proxies))
    }

    fn load_keys(&self) -> anyhow::Result<Option<Keys>> {
        let keys = self.keys.as_deref().map(Keys::load).transpose()?;
        match &self.api_key {
            Some(key) if key.is_empty() => bail!("the key given with --api-key is empty"),
            Some(key) => Ok(Some(keys.unwrap_or_default().and_key(key))),
            None => Ok(keys),
        }
    }

    pub(super) fn patience(&self) -> Patience {
        Patience { connections: self.max_connections, ..Patience::default() }
    }

    /// Takes changed keys and certificates into use, for ever. What cannot be used leaves the old in
    /// use and is said in the log.
    pub(super) async fn keep_fresh(self, access: Arc<Access>, mut renewal: Option<Renewal>) {
        let mut keys = self.keys.clone().map(|file| Watched::new(vec![file]));
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (args, access) = (self.clone(), access.clone());
            let look = tokio::task::spawn_blocking(move || {
                access.sweep();
                if keys.as_mut().is_some_and(Watched::changed) {
                    args.renew_keys(&access);
                }
                if let Some(renewal) = &mut renewal {
                    renew_certificate(renewal, &access);
                }
                (keys, renewal)
            });
            (keys, renewal) = look.await.expect("looking at files does not panic");
        }
    }

    fn renew_keys(&self, access: &Access) {
        match self.load_keys() {
            Ok(keys) => {
                let keys = keys.unwrap_or_default();
                tracing::info!(keys = keys.len(), "the keys changed");
                access.replace_keys(keys);
            }
            Err(error) => tracing::error!("{error:#}; the keys from before stay in use"),
        }
    }
}

fn renew_certificate(renewal: &mut Renewal, access: &Access) {
    match renewal.look() {
        None => {}
        Some(Ok(certificate)) => {
            access.set_strict_transport(!certificate.development);
            tracing::info!(fingerprint = certificate.fingerprint, "the certificate changed");
        }
        Some(Err(error)) => tracing::error!("{error}; the certificate from before stays in use"),
    }
}
