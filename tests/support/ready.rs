//! torana's ready line: `torana ready: rs0 127.0.0.1:27117->db1:27017 127.0.0.1:27118->db2:27017`.

/// One listener and the member that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The replica set's name.
    pub set: String,
    /// Where clients connect.
    pub listen: String,
    /// The real member.
    pub member: String,
}

/// The listeners of the ready lines in `output`; `None` if there is none yet. A half-written line is none.
pub fn parse(output: &str) -> Option<Vec<Listener>> {
    let end = output.rfind('\n')?;
    let mut listeners = Vec::new();
    let mut ready = false;
    for line in output[..end].lines() {
        let Some(words) = line.strip_prefix("torana ready:") else { continue };
        ready = true;
        let mut set = String::new();
        for word in words.split_whitespace() {
            match word.split_once("->") {
                Some((listen, member)) => {
                    listeners.push(Listener {
                        set: set.clone(),
                        listen: listen.into(),
                        member: member.into(),
                    });
                }
                None => set = word.into(),
            }
        }
    }
    ready.then_some(listeners)
}
