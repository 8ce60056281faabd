//! `torana check-config`: whether a file is a configuration, and if not, why not.

use std::path::PathBuf;

use crate::config::{CaptureConfig, Flags, SetConfig, load, show_size};

/// Check a configuration file without starting anything
///
/// Prints `ok` and what the file comes to; or what is wrong, with file and line, and ends with status 1. What cannot be
/// read hides what is wrong behind it: check again once it is mended.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file, in TOML
    file: PathBuf,
    /// The connection string that `serve` will be given, if the file has none
    uri: Option<String>,
}

/// Checks the file.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let flags = Flags { uri: arguments.uri.clone(), ..Flags::default() };
    let config = load(Some(&arguments.file), &flags)?;
    println!("{}: ok", arguments.file.display());
    for set in &config.sets {
        println!("{}", summary(set));
    }
    if let Some(capture) = &config.captures.at_start {
        println!("{}", captured(capture));
    }
    Ok(())
}

/// A capture in one line: `captured from the start: 1/10 of the connections, into /var/lib/capture, 10GiB at most`.
fn captured(capture: &CaptureConfig) -> String {
    let of = capture.set.as_ref().map_or(String::new(), |set| format!(" of {set}"));
    let (folder, quota) = (capture.folder.display(), show_size(capture.limits.quota));
    format!(
        "captured from the start: 1/{} of the connections{of}, into {folder}, {quota} at most",
        capture.sample
    )
}

/// A set in one line: `rs0: 3 seeds, inside 127.0.0.1:27117 as gate, pool max 100`.
fn summary(set: &SetConfig) -> String {
    let seeds = match set.seeds.len() {
        1 => "1 seed".to_owned(),
        count => format!("{count} seeds"),
    };
    let groups: Vec<String> = set
        .groups
        .iter()
        .map(|group| format!("{} from {} as {}", group.name, group.listen, group.advertise_host))
        .collect();
    let tags = match set.tags.len() {
        0 => String::new(),
        1 => "; 1 tag".to_owned(),
        count => format!("; {count} tags"),
    };
    let shadow = set.shadow.as_ref().map_or(String::new(), |shadow| {
        let seeds: Vec<String> = shadow.to.seeds.iter().map(ToString::to_string).collect();
        format!("; 1/{} of its reads to {} too", shadow.sample, seeds.join(", "))
    });
    format!("{}: {seeds}; {}; pool max {}{tags}{shadow}", set.name, groups.join(", "), set.pool.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_summed_up_in_a_line() {
        let text = "uri = \"mongodb://db1,db2/?replicaSet=rs0\"\nadvertise = \"gate\"\n[tags]\n\"a.b\" = \"causal\"\n";
        let config = crate::config::parse("t.toml", text, &Flags::default()).unwrap();
        let wanted = "rs0: 2 seeds; default from 127.0.0.1:27117 as gate; pool max 100; 1 tag";
        assert_eq!(summary(&config.sets[0]), wanted);
    }

    #[test]
    fn a_capture_is_a_line_of_its_own() {
        let text = "uri = \"mongodb://db1\"\n[capture]\nfolder = \"/c\"\nsample = \"1/10\"\n";
        let config = crate::config::parse("t.toml", text, &Flags::default()).unwrap();
        let line = captured(config.captures.at_start.as_ref().unwrap());
        assert_eq!(line, "captured from the start: 1/10 of the connections, into /c, 10GiB at most");
    }

    #[test]
    fn a_shadow_is_part_of_it() {
        let text = "uri = \"mongodb://db1\"\n[shadow]\nto = \"mongodb://new1,new2\"\nsample = \"1/5\"\n";
        let config = crate::config::parse("t.toml", text, &Flags::default()).unwrap();
        assert!(summary(&config.sets[0]).ends_with("; 1/5 of its reads to new1:27017, new2:27017 too"));
    }
}
