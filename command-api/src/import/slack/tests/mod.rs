//! Imports of small exports that the tests write.

mod again;
mod broken;
mod facts;
mod fuzz;
mod harness;
mod route;
