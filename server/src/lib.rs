//! The binary: the command line, and the composition root, which alone knows which adapters stand
//! behind the ports.

/// Requests are many small allocations, made by one thread and freed by another; the system's allocator
/// spends a tenth of the server's time on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod cli;
mod engines;
mod event_store_door;
mod http;
pub mod issuer_settings;
mod leading;
mod listener;
mod memberships;
mod node;
mod owner_code;
mod role;
mod serve;
pub mod settings;
mod slots;
mod telemetry;
mod tls;
mod usage;
