//! `scopegate schema`: the JSON Schema of `gateway.yaml`, for editors.

use super::check::answer;
use super::{Exit, Global};
use crate::config::schema::schema;

pub(super) fn run(global: &Global) -> Exit {
    // The schema is JSON whatever `--format` says.
    let _ = global;
    answer(&format!("{:#}\n", schema()));
    Exit::Fine
}

#[cfg(test)]
mod tests {
    use super::schema;

    #[test]
    fn the_schema_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway.schema.json");
        let text = std::fs::read_to_string(path).unwrap();
        let is_same = text == format!("{:#}\n", schema());
        assert!(is_same, "run `scopegate schema > gateway.schema.json`");
    }
}
