//! The blocks of the project's own documents.

use std::path::{Path, PathBuf};

/// A fenced block.
#[derive(Clone, Debug)]
pub struct Block {
    /// `README.md:31`: where it begins.
    pub at: String,
    /// `yaml`, `console`, ...
    pub language: String,
    pub text: String,
}

/// The README and everything in `docs/`.
pub fn documents() -> Vec<PathBuf> {
    let mut found: Vec<_> = folder(&root().join("docs"), "md");
    found.insert(0, root().join("README.md"));
    found
}

/// The files of a folder that end so, in the order of their names.
pub fn folder(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|own| own == end)).collect();
    found.sort();
    assert!(!found.is_empty(), "{}", folder.display());
    found
}

/// The blocks of a document, in order.
pub fn blocks(document: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(document).expect("the document can be read");
    let name = document.strip_prefix(root()).expect("it is in the project").display().to_string();
    let mut found: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open) {
            (Some(language), false) => {
                let at = format!("{name}:{}", number + 1);
                let language = language.to_owned();
                found.push(Block { at, language, text: String::new() });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let block = found.last_mut().expect("a block is open");
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!open, "{name} ends within a block");
    found
}

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
