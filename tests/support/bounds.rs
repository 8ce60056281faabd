//! torana with other bounds than its own: most take seconds to reach, and a test has none to spare.

use super::scratch::Scratch;
use super::torana::Torana;

/// torana in front of `uri`, with `bounds` as its configuration file: sections `[limits]`, `[pool]` and `[monitor]`.
pub fn torana_with(uri: &str, bounds: &str) -> Torana {
    let folder = Scratch::new("bounds");
    let file = folder.path().join("bounds.toml");
    std::fs::write(&file, bounds).expect("a configuration file");
    Torana::serve(uri).argument("--config").argument(file.display().to_string()).start()
}
