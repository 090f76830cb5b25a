//! A gateway in this process, on ports of its own choice.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::call::{CallSettings, Engines};
use crate::chat::ChatSettings;
use crate::gateway::{Gateway, GatewayConfig};
use crate::rtc::RtcConfig;
use crate::signaling::{self, Access, Service};

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
        Self::begin(engines, call, max_calls, access, false).await
    }

    /// The same with engines that hear every language.
    pub async fn start_multilingual(
        engines: Engines,
        call: CallSettings,
        max_calls: usize,
        access: Access,
    ) -> anyhow::Result<Self> {
        Self::begin(engines, call, max_calls, access, true).await
    }

    async fn begin(
        engines: Engines,
        call: CallSettings,
        max_calls: usize,
        access: Access,
        multilingual: bool,
    ) -> anyhow::Result<Self> {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let rtc = RtcConfig { tcp: Some(anywhere), ..RtcConfig::new(anywhere) };
        let config =
            GatewayConfig { rtc, max_calls, call, chat: ChatSettings::default(), multilingual };
        let gateway = Gateway::start(config, engines).await?;
        let listener = tokio::net::TcpListener::bind(anywhere).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let service =
            Service { gateway: gateway.clone(), access: Arc::new(access), ice: Arc::default() };
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, signaling::routes(service)).await;
        });
        Ok(Self { gateway, url, serving })
    }

    /// Ends all calls and stops serving.
    pub async fn shut_down(self) {
        self.gateway.shut_down().await;
        self.serving.abort();
    }
}
