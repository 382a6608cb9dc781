//! The protocol's messages, generated from `proto/`.

#[expect(
    unreachable_pub,
    clippy::allow_attributes,
    clippy::enum_variant_names,
    clippy::pedantic,
    reason = "generated"
)]
pub(crate) mod event_store {
    pub(crate) mod client {
        tonic::include_proto!("event_store.client");

        pub(crate) mod streams {
            tonic::include_proto!("event_store.client.streams");
        }

        pub(crate) mod server_features {
            tonic::include_proto!("event_store.client.server_features");
        }
    }
}

#[expect(unreachable_pub, reason = "generated")]
pub(crate) mod google {
    pub(crate) mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

pub(crate) use event_store::client as shared;
pub(crate) use event_store::client::streams;
