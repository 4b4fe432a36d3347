//! Which policy the demo runs.

use std::path::{Path, PathBuf};

use crate::demo::{ISSUER_VARIABLE, POLICY};
use crate::server::ConfigSource;

/// The policy of the demo.
pub(super) enum Policy {
    /// The one in the binary.
    BuiltIn,
    /// `./gateway.yaml`, which is written for the demo: it names the variable of its issuer.
    Here,
    /// The one given by `-c`.
    Own(PathBuf),
}

impl Policy {
    /// The policy given, else the one in the working directory, else the one in the binary.
    pub(super) fn choose(given: Option<&Path>) -> Self {
        if let Some(path) = given {
            return Self::Own(path.to_owned());
        }
        match std::fs::read_to_string(NAME) {
            Ok(text) if text.contains(ISSUER_VARIABLE) => Self::Here,
            Ok(_) | Err(_) => Self::BuiltIn,
        }
    }

    /// Where the gateway reads it.
    pub(super) fn source(&self) -> ConfigSource {
        match self {
            Self::BuiltIn => ConfigSource::Text { name: NAME, text: POLICY },
            Self::Here => ConfigSource::File(PathBuf::from(NAME)),
            Self::Own(path) => ConfigSource::File(path.clone()),
        }
    }

    /// What people call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::BuiltIn => format!("{NAME} (built in)"),
            Self::Here => NAME.to_owned(),
            Self::Own(path) => path.display().to_string(),
        }
    }
}

const NAME: &str = "gateway.yaml";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Variables, load_text};
    use crate::demo::API_VARIABLE;

    #[test]
    fn a_file_that_is_given_is_the_policy() {
        let policy = Policy::choose(Some(Path::new("other.yaml")));
        assert_eq!(policy.name(), "other.yaml");
        assert!(
            matches!(policy.source(), ConfigSource::File(path) if path.ends_with("other.yaml"))
        );
    }

    #[test]
    fn the_built_in_one_follows_the_servers_of_the_demo() {
        let variables = Variables::default()
            .with(ISSUER_VARIABLE, "http://127.0.0.1:1")
            .with(API_VARIABLE, "http://127.0.0.1:2");
        let loaded = load_text(NAME, POLICY, &variables);
        assert!(loaded.problems.0.is_empty(), "{}", loaded.problems.render(&loaded.sources, false));
        let config = loaded.config.unwrap();
        assert_eq!(config.issuers[0].url.value, "http://127.0.0.1:1");
        assert_eq!(config.upstreams[0].targets[0].address.label(), "127.0.0.1:2");
    }
}
