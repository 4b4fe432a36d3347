//! `scopegate init`: write a `gateway.yaml` to begin with.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;

use super::check::{answer, complain};
use super::{Exit, Global};
use crate::authenticate::preset_names;
use crate::config::{Loaded, Variables, load_text};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The issuer's URL: what its tokens say in `iss`
    issuer: String,
    /// The backend's URL, such as http://127.0.0.1:3000
    upstream: String,
    /// This API's identifier: what tokens for it say in `aud`
    #[arg(long)]
    audience: Option<String>,
    /// What kind of server the issuer is; docs/providers.md lists them
    #[arg(long, value_parser = PossibleValuesParser::new(preset_names()))]
    preset: Option<String>,
    /// The file to write; `-` is standard output
    #[arg(short, long, default_value = "gateway.yaml")]
    output: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(global: &Global, options: &Options) -> Exit {
    let text = file(options);
    let loaded = load_text("gateway.yaml", &text, &Variables::default());
    if !is_usable(&loaded) {
        let problems = loaded.problems.render(&loaded.sources, global.colors_stderr());
        drop(write!(std::io::stderr(), "{problems}"));
        return Exit::Usage;
    }
    if options.output == Path::new("-") {
        answer(&text);
        return Exit::Fine;
    }
    let name = options.output.display();
    if let Err(error) = write(&options.output, &text, options.force) {
        let help = "`--force` replaces a file, `-o FILE` names another, `-o -` only shows it";
        complain(&format!("cannot write {name}: {error}"), help);
        return Exit::Usage;
    }
    if !global.quiet {
        let next = match options.audience {
            Some(_) => "scopegate check",
            None => "write the audience, then `scopegate check`",
        };
        drop(writeln!(std::io::stderr(), "wrote {name} · next: {next}"));
    }
    Exit::Fine
}

/// Whether nothing is wrong but that the audience is not known yet.
fn is_usable(loaded: &Loaded) -> bool {
    loaded.problems.0.iter().all(|problem| problem.code == "E020")
}

fn write(path: &Path, text: &str, force: bool) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    match force {
        true => options.write(true).create(true).truncate(true),
        // One step: a file that appears in between is not replaced.
        false => options.write(true).create_new(true),
    };
    options.open(path)?.write_all(text.as_bytes())
}

/// The eleven lines; one more for a preset.
fn file(options: &Options) -> String {
    let audience = match &options.audience {
        Some(audience) => format!("audience: {}", scalar(audience)),
        None => "# audience: the API's identifier, `aud` of a real token (scopegate token inspect)"
            .to_owned(),
    };
    let preset = options.preset.as_ref().map(|preset| format!("preset: {preset}\n"));
    let preset = preset.unwrap_or_default();
    let (issuer, upstream) = (scalar(&options.issuer), scalar(&options.upstream));
    format!(
        "# yaml-language-server: $schema=./gateway.schema.json\n\
         issuer: {issuer}\n\
         {audience}\n\
         {preset}\
         upstream: {upstream}\n\
         \n\
         routes:\n  \
           /**:\n    \
             GET: {{ token: any }}                         # any valid token may read\n    \
             POST, PUT, PATCH: api:write                 # a string is a scope\n    \
             DELETE: {{ scope: api:write, role: admin }}   # keys are ANDed\n  \
           /status: {{ public: true }}                     # GET and HEAD without a token\n"
    )
}

/// Text as a YAML scalar on one line that reads as the same text: variables are not expanded.
fn scalar(text: &str) -> String {
    let text = text.replace("${", "$${");
    match serde_yaml::to_string(&text) {
        Ok(written) if written.trim_end().lines().count() == 1 => written.trim_end().to_owned(),
        // Of several lines, it would be a block; YAML contains JSON, whose strings are one line.
        Ok(_) | Err(_) => serde_json::Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(audience: Option<&str>) -> Options {
        Options {
            issuer: "https://id.example.com/realms/prod".to_owned(),
            upstream: "http://127.0.0.1:3000".to_owned(),
            audience: audience.map(str::to_owned),
            preset: None,
            output: PathBuf::from("-"),
            force: false,
        }
    }

    fn loaded(options: &Options) -> Loaded {
        load_text("gateway.yaml", &file(options), &Variables::default())
    }

    #[test]
    fn the_file_has_eleven_lines_and_loads() {
        let options = options(Some("https://api.example.com"));
        assert_eq!(file(&options).lines().count(), 11);
        let loaded = loaded(&options);
        assert_eq!(loaded.problems.render(&loaded.sources, false), "");
        assert_eq!(loaded.config.unwrap().issuers[0].audience, ["https://api.example.com"]);
    }

    #[test]
    fn a_preset_is_written_where_it_belongs() {
        let options = Options { preset: Some("okta".to_owned()), ..options(Some("api://default")) };
        // E028: Okta's org server cannot be verified, and `init` says so at once.
        assert!(!is_usable(&loaded(&options)));
        let issuer = "https://acme.okta.com/oauth2/default".to_owned();
        let config = loaded(&Options { issuer, ..options }).config.unwrap();
        assert_eq!(config.issuers[0].preset.value, "okta");
    }

    #[test]
    fn without_an_audience_check_asks_for_it() {
        let options = options(None);
        assert_eq!(file(&options).lines().count(), 11);
        let loaded = loaded(&options);
        assert!(is_usable(&loaded) && loaded.problems.has_errors());
    }

    #[test]
    fn audiences_read_as_they_were_given() {
        for audience in ["true", "42", "a: b # c", "${HOME}", "\"x\"\\", "api://default", "x:"] {
            let config = loaded(&options(Some(audience))).config.unwrap();
            assert_eq!(config.issuers[0].audience, [audience]);
        }
    }

    #[test]
    fn bad_urls_are_refused() {
        let mut options = options(Some("x"));
        options.upstream = "http://a\nroutes: {}".to_owned();
        assert!(!is_usable(&loaded(&options)));
    }

    #[test]
    fn a_file_is_replaced_by_force_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateway.yaml");
        write(&path, "one", false).unwrap();
        assert!(write(&path, "two", false).is_err());
        write(&path, "three", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
    }
}
