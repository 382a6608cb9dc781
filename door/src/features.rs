//! What clients ask first: which calls are there. Anybody may ask.

use tonic::{Request, Response, Status};

use crate::proto::shared::Empty;
use crate::proto::shared::server_features::server_features_server::ServerFeatures;
use crate::proto::shared::server_features::{SupportedMethod, SupportedMethods};

/// The version of the server whose protocol this is, by which clients decide what they may ask for.
const COMPATIBLE_VERSION: &str = "24.10.0";

const STREAMS: &str = "event_store.client.streams.streams";

const METHODS: &[(&str, &str)] = &[
    (STREAMS, "read"),
    (STREAMS, "append"),
    (STREAMS, "batchappend"),
    (STREAMS, "delete"),
    (STREAMS, "tombstone"),
    (
        "event_store.client.server_features.serverfeatures",
        "getsupportedmethods",
    ),
];

/// The service.
pub(crate) struct Features;

#[tonic::async_trait]
impl ServerFeatures for Features {
    async fn get_supported_methods(
        &self,
        _request: Request<Empty>,
    ) -> Result<Response<SupportedMethods>, Status> {
        let methods = METHODS.iter().map(|(service, method)| SupportedMethod {
            method_name: (*method).to_owned(),
            service_name: (*service).to_owned(),
            features: Vec::new(),
        });
        Ok(Response::new(SupportedMethods {
            methods: methods.collect(),
            event_store_server_version: COMPATIBLE_VERSION.to_owned(),
        }))
    }
}
