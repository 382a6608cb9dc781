//! The binary: the command line, and the composition root, which alone knows which adapters stand
//! behind the ports.

pub mod cli;
mod http;
mod memberships;
mod node;
mod owner_code;
mod serve;
pub mod settings;
mod telemetry;
