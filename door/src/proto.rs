//! The protocol's messages, generated from `proto/` by `cargo xtask generate`.

#[expect(
    unreachable_pub,
    clippy::allow_attributes,
    clippy::enum_variant_names,
    clippy::pedantic,
    reason = "generated"
)]
pub(crate) mod event_store {
    pub(crate) mod client {
        include!("generated/event_store.client.rs");

        pub(crate) mod streams {
            include!("generated/event_store.client.streams.rs");
        }

        pub(crate) mod server_features {
            include!("generated/event_store.client.server_features.rs");
        }
    }
}

#[expect(unreachable_pub, reason = "generated")]
pub(crate) mod google {
    pub(crate) mod rpc {
        include!("generated/google.rpc.rs");
    }
}

pub(crate) use event_store::client as shared;
pub(crate) use event_store::client::streams;
