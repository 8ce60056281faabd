//! The API parameters of a hello (`apiVersion` and its kin) and fields that stand twice: what mongod reads before
//! it looks at the command itself.

use super::error_code::ErrorCode;
use super::errors::CommandError;
use super::hello::Spelling;
use super::hello_fields::{Wanted, duplicate, given, text};
use super::hello_request::malformed;
use crate::doc::elements;

/// The fields that torana looks at in a hello; a second one of any is refused. mongod refuses every field that
/// stands twice; here a table of what was seen would grow with what a client sends.
const FIELDS: [&[u8]; 15] = [
    b"helloOk",
    b"loadBalanced",
    b"maxAwaitTimeMS",
    b"topologyVersion",
    b"client",
    b"compression",
    b"hostInfo",
    b"internalClient",
    b"saslSupportedMechs",
    b"speculativeAuthenticate",
    b"apiVersion",
    b"apiStrict",
    b"apiDeprecationErrors",
    b"lsid",
    b"$db",
];

/// `apiVersion`, `apiStrict` and `apiDeprecationErrors` as sent.
#[derive(Debug, Default)]
pub(super) struct ApiParameters {
    version: Option<String>,
    strict: Option<bool>,
    deprecation_errors: Option<bool>,
}

impl ApiParameters {
    pub(super) fn read(body: &[u8]) -> Result<ApiParameters, CommandError> {
        let mut parameters = ApiParameters::default();
        let mut seen = 0u16;
        for element in elements(body).skip(1) {
            let element = element.map_err(|error| malformed(&error))?;
            let Some(field) = FIELDS.iter().position(|field| *field == element.key) else { continue };
            let path = || format!("APIParametersFromClient.{}", text(element.key));
            if seen & (1 << field) != 0 {
                return Err(duplicate(&path()));
            }
            seen |= 1 << field;
            let value = &element.value;
            match element.key {
                b"apiVersion" if given(&path(), value, Wanted::STRING)? => {
                    parameters.version = Some(value.as_str().unwrap_or_default().to_owned());
                }
                b"apiStrict" if given(&path(), value, Wanted::BOOL)? => parameters.strict = value.as_bool(),
                b"apiDeprecationErrors" if given(&path(), value, Wanted::BOOL)? => {
                    parameters.deprecation_errors = value.as_bool();
                }
                _ => {}
            }
        }
        Ok(parameters)
    }

    pub(super) fn check(&self, spelling: Spelling) -> Result<(), CommandError> {
        let Some(version) = &self.version else {
            return match self.strict.or(self.deprecation_errors) {
                Some(_) => Err(CommandError::of_mongod(
                    ErrorCode::API_VERSION_MISSING,
                    "Provided apiStrict and/or apiDeprecationErrors without passing apiVersion",
                )),
                None => Ok(()),
            };
        };
        if version != "1" {
            let text = format!("Cannot accept API version {version}");
            return Err(CommandError::of_mongod(ErrorCode::API_VERSION_ERROR, text));
        }
        if spelling == Spelling::Legacy && self.strict == Some(true) {
            let text = "Provided apiStrict:true, but the command isMaster is not in API Version 1. Information on supported commands and migrations in API Version 1 can be found at https://dochub.mongodb.org/core/manual-versioned-api";
            return Err(CommandError::of_mongod(ErrorCode::API_STRICT_ERROR, text));
        }
        Ok(())
    }
}
