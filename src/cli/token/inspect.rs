//! `scopegate token inspect`: what a token says.

mod account;
pub(in crate::cli) mod decoded;
mod verify;

use std::io::Read;

use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use self::decoded::{Decoded, printable};
use self::verify::Verification;
use super::{Exit, Global, fail, say};
use crate::authenticate::{Account, preset_names};
use crate::cli::Format;
use crate::clock::Clock;
use crate::identity::Kind;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// The token, or - to read it from standard input, which keeps it out of the shell's history
    #[arg(value_name = "JWT|-", allow_hyphen_values = true)]
    token: String,
    /// Read the claims as this preset says, whatever the configuration does
    #[arg(long, value_parser = PossibleValuesParser::new(preset_names()))]
    preset: Option<String>,
}

pub(super) async fn run(global: &Global, options: &Options) -> Exit {
    let text = match input(&options.token) {
        Ok(text) => text,
        Err(error) => return fail(Exit::Usage, &format!("standard input: {error}")),
    };
    let text = bare(&text);
    let token = match Decoded::read(text) {
        Ok(token) => token,
        Err(why) => return fail(Exit::Problem, why),
    };
    let clock = Clock::default();
    let (verification, issuer) = match verify::verify(global, text, &token, &clock).await {
        Ok(found) => found,
        Err(why) => return fail(Exit::Usage, &why),
    };
    let account = account::of(issuer, options.preset.as_deref(), &token);
    let now = clock.now().unix.as_secs();
    match global.format {
        Format::Human => say(&human(&token, &verification, account.as_ref(), now)),
        Format::Json => say(&machine(&token, &verification, account.as_ref(), now).to_string()),
    }
    match verification {
        Verification::Refused { .. } => Exit::Problem,
        Verification::None | Verification::Unknown { .. } | Verification::Good { .. } => Exit::Fine,
    }
}

fn input(token: &str) -> std::io::Result<String> {
    if token != "-" {
        return Ok(token.to_owned());
    }
    let mut bytes = Vec::new();
    std::io::stdin().take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The token without what people copy along with it.
pub(in crate::cli) fn bare(text: &str) -> &str {
    let text = text.trim().trim_matches('"');
    let text = text.strip_prefix("Authorization:").unwrap_or(text).trim_start();
    match text.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer ") => text[7..].trim_start(),
        Some(_) | None => text,
    }
}

fn human(
    token: &Decoded,
    verification: &Verification,
    account: Option<&Account>,
    now: u64,
) -> String {
    let named = verification.issuer().map(|name| format!(" (issuer {name})"));
    let kind = match kind(token, verification, account) {
        Kind::User => "a person",
        Kind::Client => "a machine",
        Kind::Unknown => "a person or a machine, it does not say",
    };
    let head = [token.header("typ"), token.header("alg"), token.header("kid")];
    let [typ, alg, kid] = head.map(|value| value.unwrap_or_else(|| "-".to_owned()));
    let mut parts = vec![
        format!("{typ} {alg} kid {kid}"),
        format!("iss {}{}", token.issuer(), named.unwrap_or_default()),
    ];
    parts.extend(token.subject().map(|subject| format!("sub {subject}")));
    parts.extend(token.client().map(|client| format!("client {client}")));
    parts.push(kind.to_owned());
    parts.push(match token.scopes().join(" ") {
        none if none.is_empty() => "no scopes".to_owned(),
        scopes => format!("scopes {scopes}"),
    });
    let audience = match token.audience().join(" ") {
        none if none.is_empty() => "no aud".to_owned(),
        some => format!("aud {some}"),
    };
    let mut second = vec![token.validity(now), audience];
    second.extend(verification.note(&token.audience()));
    second.extend(token.lifetime_note());
    let [first, second] = [parts.join(" · "), second.join(" · ")];
    let read = account.map(account::lines).unwrap_or_default();
    format!("  {first}\n  {second}\n  {}{read}", verification.sentence())
}

/// Whom the token speaks for: by the gateway, by the preset, or by a look at it.
fn kind(token: &Decoded, verification: &Verification, account: Option<&Account>) -> Kind {
    let read = account.map(|account| account.kind);
    read.or(verification.kind()).unwrap_or_else(|| token.kind())
}

fn machine(
    token: &Decoded,
    verification: &Verification,
    account: Option<&Account>,
    now: u64,
) -> Value {
    json!({
        "header": token.header,
        "claims": token.claims,
        "issuer": verification.issuer(),
        "kind": kind(token, verification, account).as_str(),
        "read": account.map(account::json),
        "expires_in": token.expires().map(|expires| expires - i128::from(now)).and_then(|s| i64::try_from(s).ok()),
        "verified": verification.verdict(),
        "reason": verification.reason(),
    })
}

pub(in crate::cli) const MOST_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn token(header: &str, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", part(header), part(claims))
    }

    fn said(header: &str, claims: &str) -> String {
        let token = Decoded::read(&token(header, claims)).unwrap();
        human(&token, &Verification::None, None, 1_000_000)
    }

    #[test]
    fn a_persons_token() {
        let said = said(
            r#"{"typ":"at+jwt","alg":"ES256","kid":"2026-07"}"#,
            r#"{"iss":"https://id.example","sub":"alice","aud":"api","client_id":"web-app","scope":"orders:read orders:write","exp":1002520}"#,
        );
        assert_eq!(
            said,
            "  at+jwt ES256 kid 2026-07 · iss https://id.example · sub alice · client web-app · a person · scopes orders:read orders:write\n  \
             valid: 42 min left · aud api\n  \
             not verified: the signature was not checked, so none of this is proved"
        );
    }

    #[test]
    fn a_machines_token_and_one_that_says_little() {
        let machine = said(r#"{"alg":"ES256"}"#, r#"{"sub":"job","client_id":"job","exp":999940}"#);
        assert!(
            machine
                .contains("- ES256 kid - · iss - · sub job · client job · a machine · no scopes")
        );
        assert!(machine.contains("expired: 60 s ago · no aud"));
        let bare = said("{}", "{}");
        assert!(bare.contains("it does not say"));
        assert!(bare.contains("never expires"));
    }

    #[test]
    fn what_a_token_says_cannot_move_the_cursor() {
        let said = said(r#"{"alg":"\u001b[2J"}"#, r#"{"sub":"\u202eecila\nvalid: 9 h left"}"#);
        assert_eq!(said.lines().count(), 3);
        assert!(!said.contains(['\u{1b}', '\u{202e}']));
    }

    #[test]
    fn json_has_all_of_it() {
        let token =
            Decoded::read(&token(r#"{"alg":"ES256"}"#, r#"{"sub":"a","exp":7.5}"#)).unwrap();
        let said = machine(&token, &Verification::None, None, 10);
        assert_eq!((&said["claims"]["sub"], &said["verified"]), (&json!("a"), &Value::Null));
        assert_eq!(said["expires_in"], json!(-3));
    }

    #[test]
    fn what_is_copied_along_is_dropped() {
        for text in ["a.b.c", " Bearer a.b.c\n", "Authorization: bearer a.b.c", "\"a.b.c\""] {
            assert_eq!(bare(text), "a.b.c");
        }
        assert_eq!(bare("öäüöä"), "öäüöä");
    }
}
