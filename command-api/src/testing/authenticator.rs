//! An authenticator for passkeys that does what a test wants, also what no honest one does: the client's
//! part of `WebAuthn`, level 3, with ES256 and no attestation.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Flags of the authenticator's data: somebody was there, they were verified, there is a new key.
const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const NEW_KEY: u8 = 0x40;

/// One passkey on a device.
pub(crate) struct Authenticator {
    key: EcdsaKeyPair,
    id: Vec<u8>,
    user: Value,
    /// The page that it believes to be on.
    pub(crate) origin: String,
    /// How often it was used.
    pub(crate) count: u32,
    /// Whether it asks for a PIN or a finger.
    pub(crate) verifies: bool,
}

impl Authenticator {
    pub(crate) fn new() -> Self {
        Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            id: infra::clock::fresh_id().as_bytes().to_vec(),
            user: Value::Null,
            origin: "http://localhost:8080".to_owned(),
            count: 1,
            verifies: true,
        }
    }

    /// What `navigator.credentials.create(options)` gives.
    pub(crate) fn create(&mut self, options: &Value) -> Value {
        self.user = options["user"]["id"].clone();
        let mut data = self.data(&options["rp"]["id"], NEW_KEY);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        let point = self.key.public_key().as_ref();
        // COSE: an EC2 key for ES256 on P-256, and both coordinates.
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(&point[1..33]);
        data.extend([0x22, 0x58, 0x20]);
        data.extend(&point[33..65]);
        let mut object = b"\xa3cfmtdnonegattStmt\xa0hauthData\x58".to_vec();
        object.push(u8::try_from(data.len()).unwrap());
        object.extend(data);
        let client = self.client_data("webauthn.create", options);
        self.credential(&json!({
            "clientDataJSON": encode(&client), "attestationObject": encode(&object),
            "transports": ["internal"],
        }))
    }

    /// What `navigator.credentials.get(options)` gives.
    pub(crate) fn get(&mut self, options: &Value) -> Value {
        self.count += 1;
        let data = self.data(&options["rpId"], 0);
        let client = self.client_data("webauthn.get", options);
        let signed = [&data[..], &Sha256::digest(&client)].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        self.credential(&json!({
            "clientDataJSON": encode(&client), "authenticatorData": encode(&data),
            "signature": encode(signature.as_ref()), "userHandle": self.user,
        }))
    }

    fn data(&self, party: &Value, flags: u8) -> Vec<u8> {
        let verified = if self.verifies { VERIFIED } else { 0 };
        let mut data = Sha256::digest(party.as_str().unwrap()).to_vec();
        data.push(PRESENT | verified | flags);
        data.extend(self.count.to_be_bytes());
        data
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let challenge = &options["challenge"];
        let data = json!({ "type": kind, "challenge": challenge, "origin": self.origin });
        data.to_string().into_bytes()
    }

    fn credential(&self, response: &Value) -> Value {
        let id = encode(&self.id);
        json!({
            "id": id, "rawId": id, "type": "public-key", "response": response,
            "clientExtensionResults": {},
        })
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
