//! Where the real parts are: mongods, drivers and the interpreters that run them, fetched by `deploy/lib/fetch.sh`.

use std::path::PathBuf;

/// The part that the variable `name` (`TORANA_MONGOD_60`, `TORANA_PY_CURRENT`, ...) names: from the environment, or
/// from the `env.sh` that the last fetch left in the cache, so that a plain `cargo test` works too.
///
/// # Panics
/// If neither says it. A missing part fails a test; it never skips one.
pub fn part(name: &str) -> PathBuf {
    let from_environment = std::env::var_os(name).map(PathBuf::from);
    let found = from_environment.or_else(|| from_cache(name));
    match found {
        Some(path) if path.exists() => path,
        Some(path) => panic!("{name} is {}, which does not exist: run deploy/test", path.display()),
        None => panic!("{name} is not known on this machine: run deploy/test, which fetches it"),
    }
}

fn from_cache(name: &str) -> Option<PathBuf> {
    let cache = match std::env::var_os("TORANA_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache/torana"),
    };
    let variables = std::fs::read_to_string(cache.join("env.sh")).ok()?;
    let value = variables
        .lines()
        .find_map(|line| line.strip_prefix("export ")?.strip_prefix(name)?.strip_prefix('='))?;
    Some(PathBuf::from(value.trim_matches('\'')))
}
