//! How the gateway says who it is when it asks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::{Serializer, byte_serialize};
use http::HeaderValue;

use super::assertion::Assertion;
use crate::authenticate::fetch::{Fault, Form};
use crate::clock::Now;
use crate::config::{ClientProof, Introspection, Problem, Secret};

/// The gateway's credentials at one issuer.
#[derive(Debug)]
pub(super) struct Credentials {
    client_id: String,
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    /// A public client's.
    Absent,
    /// RFC 6749 §2.3.1, the ready field.
    Basic(HeaderValue),
    /// The same in the form.
    Post(Secret),
    /// RFC 7523 §2.2.
    Assertion(Box<Assertion>),
}

impl Credentials {
    /// The credentials at the issuer `url`.
    ///
    /// # Errors
    /// E043 if the key file cannot be used.
    pub(super) fn new(settings: &Introspection, url: &str) -> Result<Self, Box<Problem>> {
        let client_id = settings.client_id.clone();
        let proof = match &settings.proof {
            ClientProof::Absent => Proof::Absent,
            ClientProof::Basic { secret, is_encoded } => {
                Proof::Basic(basic(&client_id, secret, *is_encoded))
            }
            ClientProof::Post(secret) => Proof::Post(secret.clone()),
            ClientProof::PrivateKey { key, kid } => {
                let assertion = Assertion::read(key, kid.as_deref(), &client_id, url)?;
                Proof::Assertion(Box::new(assertion))
            }
        };
        Ok(Self { client_id, proof })
    }

    /// The form that asks about `token` (RFC 7662 §2.1).
    pub(super) fn form(&self, token: &str, accept: &'static str, now: Now) -> Result<Form, Fault> {
        let mut fields = Serializer::new(String::new());
        fields.append_pair("token", token).append_pair("token_type_hint", "access_token");
        let mut authorization = None;
        match &self.proof {
            Proof::Absent => drop(fields.append_pair("client_id", &self.client_id)),
            Proof::Basic(field) => authorization = Some(field.clone()),
            Proof::Post(secret) => {
                fields.append_pair("client_id", &self.client_id);
                fields.append_pair("client_secret", secret.reveal());
            }
            Proof::Assertion(assertion) => {
                let made = assertion.make(now).ok_or(Fault::Invalid(NOT_SIGNED))?;
                fields.append_pair("client_id", &self.client_id);
                fields.append_pair("client_assertion_type", ASSERTION_TYPE);
                fields.append_pair("client_assertion", &made);
            }
        }
        Ok(Form { fields: fields.finish(), authorization, accept })
    }
}

/// `Basic`, with id and secret form-encoded before they are joined: a colon in the id would else
/// end it. Servers that do not decode them want them as they are.
pub(super) fn basic(id: &str, secret: &Secret, is_encoded: bool) -> HeaderValue {
    let part = |text: &str| match is_encoded {
        true => byte_serialize(text.as_bytes()).collect(),
        false => text.to_owned(),
    };
    let pair = format!("{}:{}", part(id), part(secret.reveal()));
    let field = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
    // Base64 is visible ASCII.
    let mut field = field.unwrap_or(HeaderValue::from_static("Basic"));
    field.set_sensitive(true);
    field
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

const NOT_SIGNED: &str = "the gateway could not sign its assertion";

#[cfg(test)]
mod tests {
    use super::*;

    /// IN-02
    #[test]
    fn basic_is_form_encoded_unless_the_server_cannot_decode() {
        let secret = Secret::from("p@ss:w/o%".to_owned());
        let decoded = |field: &HeaderValue| {
            let text = field.to_str().unwrap().strip_prefix("Basic ").unwrap();
            String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
        };
        let field = basic("id", &secret, true);
        assert_eq!(decoded(&field), "id:p%40ss%3Aw%2Fo%25");
        assert!(!format!("{field:?}").contains("Basic"));
        assert_eq!(decoded(&basic("a b:c", &secret, true)), "a+b%3Ac:p%40ss%3Aw%2Fo%25");
        assert_eq!(decoded(&basic("id", &secret, false)), "id:p@ss:w/o%");
    }
}
