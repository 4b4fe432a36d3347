//! What a whole file leads to.

use super::{Loaded, Variables, load_text};

/// Reads a file and renders its problems.
fn rendered(text: &str) -> String {
    let loaded = load_text("gateway.yaml", text, &Variables::default());
    loaded.problems.render(&loaded.sources, false)
}

#[test]
fn e012() {
    println!(
        "{}",
        rendered(
            "issuer: https://id.example.com/realms/prod\naudience: x\nupstream: http://127.0.0.1:3000\nroutes:\n  /orders/**:\n    GET: [orders:read, orders:admin]\n    upstreem: x\n    limit: free\n  /a/{id}: {GET: x}\n\n\n\n  /a/{name}: {GET: x, timeout: 30, POST: {public: true}}\n  /b:\nidentity_headers:\n  X-User: {sub}\n"
        )
    );
}
