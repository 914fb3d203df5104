//! The connections of a client to an API server, as kube makes them but for one setting of TCP.

use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt},
};
use tower::{BoxError, ServiceBuilder};
use tower_http::trace::TraceLayer;

/// Makes a client.
///
/// kube leaves Nagle's algorithm on (kube-rs/kube#2056): on a connection whose TLS session is resumed, the first request waits until
/// the server has acknowledged the end of the handshake, which Linux delays by 40 ms (seen on the sandbox). Here it is off, unless
/// the way leads through a proxy, whose connections are kube's.
///
/// # Errors
/// Those of [`Client::try_from`].
pub(super) fn client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        // A request that fails is said by whoever made it.
        .layer(TraceLayer::new_for_http().on_failure(()))
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}
