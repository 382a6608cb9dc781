//! What a push service passes on and cannot read: RFC 8291, with the content coding `aes128gcm` of RFC 8188
//! in one record.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

use super::PushTarget;
use crate::failure::Failure;

/// Bytes of a record: it has to hold all, and push services take no more.
const RECORD_BYTES: u32 = 4_096;

/// Ends the last record (RFC 8188, section 2).
const LAST_RECORD: u8 = 2;

/// What failed.
const ENCRYPT: &str = "encrypt a push";

/// `payload`, encrypted for `target`: the whole body of a request.
///
/// # Errors
/// A primitive refuses to work, which is a defect.
pub(super) fn encrypt(target: &PushTarget, payload: &[u8]) -> Result<Vec<u8>, Failure> {
    let failed = |_: Unspecified| Failure::internal(ENCRYPT, "a primitive failed");
    let ours = PrivateKey::generate(&ECDH_P256).map_err(failed)?;
    encrypt_with(target, payload, &ours, &rand::random()).map_err(failed)
}

/// A length as the function that derives keys wants it.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF (RFC 5869) of `secret`, salted with `salt`.
fn derive<const N: usize>(
    salt: &[u8],
    secret: &[u8],
    info: &[&[u8]],
) -> Result<[u8; N], Unspecified> {
    let mut derived = [0; N];
    let key = Salt::new(HKDF_SHA256, salt).extract(secret);
    key.expand(info, Length(N))?.fill(&mut derived)?;
    Ok(derived)
}

fn encrypt_with(
    target: &PushTarget,
    payload: &[u8],
    ours: &PrivateKey,
    salt: &[u8; 16],
) -> Result<Vec<u8>, Unspecified> {
    let our_public = ours.compute_public_key()?;
    let our_public = our_public.as_ref();
    let theirs = UnparsedPublicKey::new(&ECDH_P256, &target.p256dh);
    let info: [&[u8]; 3] = [b"WebPush: info\0", &target.p256dh, our_public];
    let key: [u8; 32] = agree(ours, theirs, Unspecified, |shared| {
        derive(&target.auth, shared, &info)
    })?;
    let content_key: [u8; 16] = derive(salt, &key, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce: [u8; 12] = derive(salt, &key, &[b"Content-Encoding: nonce\0"])?;

    let mut sealed = payload.to_vec();
    sealed.push(LAST_RECORD);
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &content_key)?);
    let nonce = Nonce::assume_unique_for_key(nonce);
    cipher.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)?;

    let key_length = u8::try_from(our_public.len()).map_err(|_| Unspecified)?;
    let mut body = Vec::with_capacity(21 + our_public.len() + sealed.len());
    body.extend_from_slice(salt);
    body.extend_from_slice(&RECORD_BYTES.to_be_bytes());
    body.push(key_length);
    body.extend_from_slice(our_public);
    body.append(&mut sealed);
    Ok(body)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::push::tests::{AUTH, PUBLIC_KEY};
    use crate::push::{Addresses, PAYLOAD_BYTES_MAX};

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    fn target() -> PushTarget {
        let endpoint = "https://push.example/1";
        PushTarget::parse(endpoint, PUBLIC_KEY, AUTH, Addresses::PublicOnly).unwrap()
    }

    /// RFC 8291, appendix A.
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let ours = bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let ours = PrivateKey::from_private_key(&ECDH_P256, &ours).unwrap();
        let salt: [u8; 16] = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let payload = b"When I grow up, I want to be a watermelon";
        let body = encrypt_with(&target(), payload, &ours, &salt).unwrap();
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml\
                        mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT\
                        pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(body), expected);
    }

    #[test]
    fn the_longest_payload_fits_into_what_push_services_take() {
        let payload = [b'a'; PAYLOAD_BYTES_MAX];
        let body = encrypt(&target(), &payload).unwrap();
        assert!(body.len() <= 4_096, "{}", body.len());
        let again = encrypt(&target(), &payload).unwrap();
        assert_ne!(body, again, "each has a key of its own");
    }
}
