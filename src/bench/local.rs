//! A gateway in this process, on ports of its own choice.

use std::net::SocketAddr;
use std::sync::Arc;

use axum_server::Handle;

use crate::call::{CallSettings, Engines};
use crate::chat::ChatSettings;
use crate::gateway::{Gateway, GatewayConfig};
use crate::rtc::RtcConfig;
use crate::signaling::server::{self, Patience};
use crate::signaling::{Access, Service};
use crate::storage::Storage;

/// A gateway in this process. It serves until [`LocalGateway::shut_down`].
pub struct LocalGateway {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Where it answers.
    pub url: String,
    serving: tokio::task::JoinHandle<()>,
}

impl LocalGateway {
    /// Starts it on 127.0.0.1 with engines that are warm already.
    pub async fn start(
        engines: Engines,
        call: CallSettings,
        max_calls: usize,
        access: Access,
    ) -> anyhow::Result<Self> {
        Self::start_changed(engines, call, max_calls, access, |_| {}).await
    }

    /// The same with engines that hear every language.
    pub async fn start_multilingual(
        engines: Engines,
        call: CallSettings,
        max_calls: usize,
        access: Access,
    ) -> anyhow::Result<Self> {
        let change = |config: &mut GatewayConfig| config.multilingual = true;
        Self::start_changed(engines, call, max_calls, access, change).await
    }

    /// The same as [`LocalGateway::start`], with conversations that are kept.
    pub async fn start_with_storage(
        engines: Engines,
        call: CallSettings,
        max_calls: usize,
        access: Access,
        storage: Storage,
    ) -> anyhow::Result<Self> {
        let change = |config: &mut GatewayConfig| config.storage = storage;
        Self::start_changed(engines, call, max_calls, access, change).await
    }

    /// The same as [`LocalGateway::start`], with changes to the gateway's other settings.
    pub async fn start_changed(
        engines: Engines,
        call: CallSettings,
        max_calls: usize,
        access: Access,
        change: impl FnOnce(&mut GatewayConfig),
    ) -> anyhow::Result<Self> {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let rtc = RtcConfig { tcp: Some(anywhere), ..RtcConfig::new(anywhere) };
        let chat = ChatSettings::default();
        let mut config = GatewayConfig {
            rtc,
            max_calls,
            call,
            chat,
            multilingual: false,
            personas: Arc::default(),
            storage: Storage::off(),
        };
        change(&mut config);
        let gateway = Gateway::start(config, engines).await?;
        let listener = std::net::TcpListener::bind(anywhere)?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let service = Service {
            gateway: gateway.clone(),
            access: Arc::new(access),
            ice: Arc::default(),
            web: None,
        };
        let serving = tokio::spawn(async move {
            let _ =
                server::serve(listener, service, None, Handle::new(), Patience::default()).await;
        });
        Ok(Self { gateway, url, serving })
    }

    /// Ends all calls and stops serving.
    pub async fn shut_down(self) {
        self.gateway.shut_down().await;
        self.serving.abort();
    }
}
