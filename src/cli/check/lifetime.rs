//! `check --online --token`: whether the tokens of a sample's issuer live long.

use std::io::Read;
use std::path::Path;

use crate::authenticate::is_called;
use crate::cli::token::inspect::decoded::{Decoded, span};
use crate::cli::token::inspect::{MOST_BYTES, bare};
use crate::config::{Config, Problem};

/// A warning if tokens such as the one in a file live for over an hour and nothing bounds that
/// (RFC 9700 §4.10). The token is read and not verified, and no part of it is shown.
///
/// # Errors
/// A sentence, if there is no token of a configured issuer that says how long it lives.
pub(super) fn problem(config: &Config, file: &Path, now: i128) -> Result<Option<Problem>, String> {
    let text = read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    warning(config, bare(&text), now)
}

fn warning(config: &Config, token: &str, now: i128) -> Result<Option<Problem>, String> {
    let token = Decoded::read(token).map_err(|why| format!("the sample token: {why}"))?;
    let iss = token.claims.get("iss").and_then(serde_json::Value::as_str).unwrap_or_default();
    let issuer = config.issuers.iter().find(|issuer| is_called(issuer, iss));
    let issuer = issuer.ok_or("the sample token is of none of the issuers in the file")?;
    let life = token.life(now).ok_or("the sample token does not say when it ends")?;
    if life <= LONG_LIFE || issuer.max_token_age.is_some() {
        return Ok(None);
    }
    let message = format!("tokens of issuer `{}` live {}", *issuer.name, span(life));
    Ok(Some(
        Problem::new("A152", issuer.name.at, message)
            .label("`max_token_age` is not set")
            .help("whoever copies a token can use it as long; `max_token_age: 1h` shortens that"),
    ))
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().take(MOST_BYTES).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(file)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// In seconds.
const LONG_LIFE: i128 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Variables, load_text};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn said(issuer: &str, claims: &str) -> Result<Option<String>, String> {
        let yaml = format!(
            "issuers: {{ main: {{ url: https://id.test, audience: api{issuer} }} }}\n\
             upstream: http://127.0.0.1:1\nroutes: {{ /a: {{ GET: a }} }}\n"
        );
        let config = load_text("gateway.yaml", &yaml, &Variables::default()).config.unwrap();
        let [head, claims] = ["{}", claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let found = warning(&config, &format!("{head}.{claims}.c2ln"), 1_000)?;
        Ok(found.map(|problem| problem.message))
    }

    #[test]
    fn tokens_that_live_for_over_an_hour_are_told() {
        let day = r#"{"iss":"https://id.test","iat":1000,"exp":87400}"#;
        let told = Ok(Some("tokens of issuer `main` live 24 h".to_owned()));
        assert_eq!(said("", day), told);
        assert_eq!(said(", max_token_age: 12h", day), Ok(None));
        let hour = r#"{"iss":"https://id.test","iat":1000,"exp":4600}"#;
        assert_eq!(said("", hour), Ok(None));
        // At least that long.
        assert_eq!(said("", r#"{"iss":"https://id.test","exp":87400}"#), told);
    }

    #[test]
    fn what_says_nothing_is_told_without_showing_it() {
        for claims in [
            r#"{"iss":"https://s3cret.test","iat":1000,"exp":87400}"#,
            r#"{"iat":1000,"exp":87400,"sub":"s3cret"}"#,
            r#"{"iss":"https://id.test","sub":"s3cret"}"#,
            "s3cret",
        ] {
            let sentence = said("", claims).unwrap_err();
            assert!(sentence.starts_with("the sample token") && !sentence.contains("s3cret"));
        }
    }
}
