//! The binary: the command line, and the composition root, which alone knows which adapters stand
//! behind the ports.

pub mod cli;
pub mod settings;
mod telemetry;
