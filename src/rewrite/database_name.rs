//! Whether a database may be called so: mongod's rule, for the commands that torana answers in its place.

use super::error_code::ErrorCode;
use super::errors::CommandError;

/// The longest name, bytes (`NamespaceString::MaxDatabaseNameLen`, less one).
const LONGEST: usize = 63;

/// Checks the database that a command names; `None` if it names none. The errors are those of mongod 6.0, which asks
/// in this order.
pub fn check_database(name: Option<&[u8]>) -> Result<(), CommandError> {
    let Some(name) = name else {
        let text = "OP_MSG requests require a $db argument";
        return Err(CommandError::of_mongod(ErrorCode::DATABASE_MISSING, text));
    };
    let text = String::from_utf8_lossy(name);
    if name.contains(&b'.') {
        let text = format!("'.' is an invalid character in the database name: {text}");
        return Err(CommandError::of_mongod(ErrorCode::INVALID_NAMESPACE, text));
    }
    let is_fit = |byte: &u8| !matches!(byte, b'/' | b'\\' | b' ' | b'"' | b'\0');
    match (1..=LONGEST).contains(&name.len()) && name.iter().all(is_fit) {
        true => Ok(()),
        false => {
            let text = format!("Invalid database name: '{text}'");
            Err(CommandError::of_mongod(ErrorCode::INVALID_NAMESPACE, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mongod_takes_pass_and_others_are_told_why_not() {
        for name in ["admin", "$external", "$", "a-b_c", "ü", &"x".repeat(63)] {
            assert_eq!(check_database(Some(name.as_bytes())), Ok(()), "{name}");
        }
        let told = |name: Option<&[u8]>| {
            check_database(name).map_err(|error| (error.code.0, error.errmsg.into_owned())).unwrap_err()
        };
        assert_eq!(told(None), (40571, "OP_MSG requests require a $db argument".to_owned()));
        assert_eq!(told(Some(b"")), (73, "Invalid database name: ''".to_owned()));
        assert_eq!(told(Some(b"a b")), (73, "Invalid database name: 'a b'".to_owned()));
        assert_eq!(told(Some(&[b'x'; 64])).0, 73);
        let dotted = "'.' is an invalid character in the database name: a.b";
        assert_eq!(told(Some(b"a.b")), (73, dotted.to_owned()));
    }
}
