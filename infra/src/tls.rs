//! TLS to engines and at the door.

/// Chooses who encrypts. The libraries here bring two providers, of which rustls takes neither by itself;
/// call this before the first connection with TLS. Again, it does nothing.
pub fn choose_provider() {
    // An error says that one was chosen before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
