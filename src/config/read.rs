//! To be written.

use std::path::Path;

use super::{Config, Problems, Sources};

/// A configuration that was read, or why it could not be.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration; `None` if there are errors.
    pub config: Option<Config>,
    /// The files it was read from.
    pub sources: Sources,
    /// What is wrong with it: errors, or only warnings.
    pub problems: Problems,
}

/// The values that `${NAME}` stands for.
#[derive(Clone, Debug, Default)]
pub struct Variables {}

impl Variables {
    /// The process's environment, files for `${file:…}`, and `$CREDENTIALS_DIRECTORY`.
    #[must_use]
    pub fn of_process() -> Self {
        todo!()
    }

    /// Sets one, before all others.
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        let _ = (name, value);
        todo!()
    }
}

/// Reads a file and what it includes.
///
/// # Errors
/// If the file itself cannot be read. All else is in [`Loaded::problems`].
pub fn load(path: &Path, variables: &Variables) -> std::io::Result<Loaded> {
    let _ = (path, variables);
    todo!()
}

/// Reads a configuration from text; `name` is what problems call it. Relative paths and includes
/// are looked up in the working directory.
#[must_use]
pub fn load_text(name: &str, text: &str, variables: &Variables) -> Loaded {
    let _ = (name, text, variables);
    todo!()
}

impl Problems {
    /// The problems as people read them: code, place, source line, caret, label and help.
    #[must_use]
    pub fn render(&self, sources: &Sources, color: bool) -> String {
        let _ = (sources, color);
        todo!()
    }
}
