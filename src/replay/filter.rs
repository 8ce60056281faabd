//! Which operations are wanted: `command=find,aggregate`, `ns=app.*`, `connection=17`. Several filters must all agree.

use std::str::FromStr;

use super::job::ConnectionId;

/// One condition; an operation passes if it is any of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// The command's name.
    Command(Vec<String>),
    /// `db.collection`; a `*` at the end stands for anything.
    Namespace(Vec<String>),
    /// The number of the connection in the capture.
    Connection(Vec<u64>),
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Filter, String> {
        let help = "a filter is command=NAME,.., ns=DB.COLLECTION,.. (with * at its end for all that begin so) or connection=NUMBER,..";
        let (key, values) = text.split_once('=').ok_or_else(|| format!("{text:?}: {help}"))?;
        let values: Vec<String> =
            values.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect();
        if values.is_empty() {
            return Err(format!("{text:?} names nothing: {help}"));
        }
        match key.trim() {
            "command" => Ok(Filter::Command(values)),
            "ns" | "namespace" => {
                match values.iter().find(|value| !value.contains('.') && !value.ends_with('*')) {
                    Some(value) => Err(format!("{value:?} names no collection: {help}")),
                    None => Ok(Filter::Namespace(values)),
                }
            }
            "connection" => {
                let numbers = values.iter().map(|value| value.parse()).collect::<Result<Vec<u64>, _>>();
                numbers.map(Filter::Connection).map_err(|_| format!("{text:?}: {help}"))
            }
            _ => Err(format!("{text:?}: {help}")),
        }
    }
}

impl Filter {
    /// Whether an operation passes.
    pub fn takes(
        &self,
        connection: ConnectionId,
        command: &[u8],
        database: &[u8],
        collection: &[u8],
    ) -> bool {
        match self {
            Filter::Command(names) => names.iter().any(|name| name.as_bytes() == command),
            Filter::Connection(numbers) => numbers.contains(&connection.number),
            Filter::Namespace(patterns) => {
                patterns.iter().any(|pattern| matches(pattern.as_bytes(), database, collection))
            }
        }
    }
}

fn matches(pattern: &[u8], database: &[u8], collection: &[u8]) -> bool {
    let namespace = [database, b".", collection].concat();
    match pattern.strip_suffix(b"*") {
        Some(front) => namespace.starts_with(front),
        None => namespace == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_passes_if_it_is_any_of_the_values() {
        let takes = |filter: &str, connection, command: &str, db: &str, collection: &str| {
            let id = ConnectionId { lap: 0, number: connection };
            let filter: Filter = filter.parse().unwrap();
            filter.takes(id, command.as_bytes(), db.as_bytes(), collection.as_bytes())
        };
        assert!(takes("command=find, aggregate", 1, "aggregate", "a", "b"));
        assert!(!takes("command=find", 1, "finds", "a", "b"));
        assert!(takes("ns=app.*", 1, "find", "app", "b") && !takes("ns=app.*", 1, "find", "apps", "b"));
        assert!(takes("ns=app.b", 1, "find", "app", "b") && !takes("ns=app.b", 1, "find", "app", "bc"));
        assert!(takes("connection=1,2", 2, "find", "a", "b") && !takes("connection=1", 2, "find", "a", "b"));
    }

    #[test]
    fn what_is_no_filter_is_refused_with_its_form() {
        for text in ["find", "command=", "colour=red", "connection=x"] {
            assert!(text.parse::<Filter>().unwrap_err().contains("command=NAME"), "{text}");
        }
    }
}
