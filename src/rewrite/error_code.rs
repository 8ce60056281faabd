//! Error codes that torana answers with, and MongoDB's names for them.

use std::borrow::Cow;

/// A MongoDB error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i32);

macro_rules! codes {
    ($($(#[$doc:meta])* $constant:ident = $code:literal $name:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $constant: ErrorCode = ErrorCode($code);)*

            /// The name in the server's error_codes.yml; `None` for a number that is only a place in its source.
            fn known_name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Something that should not be.
    INTERNAL_ERROR = 1 "InternalError";
    /// No such user.
    USER_NOT_FOUND = 11 "UserNotFound";
    /// No such collection.
    NAMESPACE_NOT_FOUND = 26 "NamespaceNotFound";
    /// The write is done and its concern not met.
    WRITE_CONCERN_FAILED = 64 "WriteConcernFailed";
    /// It did not work out.
    OPERATION_FAILED = 96 "OperationFailed";
    /// Two transactions write one document.
    WRITE_CONFLICT = 112 "WriteConflict";
    /// No member that the read preference allows.
    FAILED_TO_SATISFY_READ_PREFERENCE = 133 "FailedToSatisfyReadPreference";
    /// No snapshot that a majority has.
    READ_CONCERN_MAJORITY_NOT_AVAILABLE_YET = 134 "ReadConcernMajorityNotAvailableYet";
    /// A shard's epoch is over.
    STALE_EPOCH = 150 "StaleEpoch";
    /// A signing key is not known.
    KEY_NOT_FOUND = 211 "KeyNotFound";
    /// A later transaction of the session has begun.
    TRANSACTION_TOO_OLD = 225 "TransactionTooOld";
    /// A change stream is to be opened anew.
    RETRY_CHANGE_STREAM = 234 "RetryChangeStream";
    /// No snapshot at this time.
    SNAPSHOT_UNAVAILABLE = 246 "SnapshotUnavailable";
    /// The transaction is not known, or no more.
    NO_SUCH_TRANSACTION = 251 "NoSuchTransaction";
    /// A change stream's place has left the oplog.
    CHANGE_STREAM_HISTORY_LOST = 286 "ChangeStreamHistoryLost";
    /// Is not primary, in the oldest servers' number.
    LEGACY_NOT_PRIMARY = 10058 "LegacyNotPrimary";
    /// A value that cannot be.
    BAD_VALUE = 2 "BadValue";
    /// A member cannot be reached.
    HOST_UNREACHABLE = 6 "HostUnreachable";
    /// A message that does not parse.
    FAILED_TO_PARSE = 9 "FailedToParse";
    /// The user may not do this.
    UNAUTHORIZED = 13 "Unauthorized";
    /// A field of another type than wanted.
    TYPE_MISMATCH = 14 "TypeMismatch";
    /// A message longer or shorter than it may be.
    INVALID_LENGTH = 16 "InvalidLength";
    /// A message that is not what the protocol wants at this place.
    PROTOCOL_ERROR = 17 "ProtocolError";
    /// Wrong user or password.
    AUTHENTICATION_FAILED = 18 "AuthenticationFailed";
    /// It cannot be done in this state.
    ILLEGAL_OPERATION = 20 "IllegalOperation";
    /// Bytes that are no document.
    INVALID_BSON = 22 "InvalidBSON";
    /// The request's own maxTimeMS is over.
    MAX_TIME_MS_EXPIRED = 50 "MaxTimeMSExpired";
    /// No such cursor.
    CURSOR_NOT_FOUND = 43 "CursorNotFound";
    /// No such command.
    COMMAND_NOT_FOUND = 59 "CommandNotFound";
    /// Options that do not go together.
    INVALID_OPTIONS = 72 "InvalidOptions";
    /// A database or collection may not be called so.
    INVALID_NAMESPACE = 73 "InvalidNamespace";
    /// No answer in time.
    NETWORK_TIMEOUT = 89 "NetworkTimeout";
    /// The name of a host is not known.
    HOST_NOT_FOUND = 7 "HostNotFound";
    /// Is primary no more.
    PRIMARY_STEPPED_DOWN = 189 "PrimarySteppedDown";
    /// Another took too long.
    NETWORK_INTERFACE_EXCEEDED_TIME_LIMIT = 202 "NetworkInterfaceExceededTimeLimit";
    /// No connection to it.
    SOCKET_EXCEPTION = 9001 "SocketException";
    /// A write at a member that is not primary.
    NOT_WRITABLE_PRIMARY = 10107 "NotWritablePrimary";
    /// Ended as the server shuts down.
    INTERRUPTED_AT_SHUTDOWN = 11600 "InterruptedAtShutdown";
    /// Ended by somebody.
    INTERRUPTED = 11601 "Interrupted";
    /// Ended as the member is primary no more.
    INTERRUPTED_DUE_TO_REPL_STATE_CHANGE = 11602 "InterruptedDueToReplStateChange";
    /// A read at a member that is not primary, without leave to read from secondaries.
    NOT_PRIMARY_NO_SECONDARY_OK = 13435 "NotPrimaryNoSecondaryOk";
    /// The member is in no state to serve.
    NOT_PRIMARY_OR_SECONDARY = 13436 "NotPrimaryOrSecondary";
    /// Going away; try elsewhere.
    SHUTDOWN_IN_PROGRESS = 91 "ShutdownInProgress";
    /// A configuration that no replica set can have.
    INVALID_REPLICA_SET_CONFIG = 93 "InvalidReplicaSetConfig";
    /// Not known here.
    COMMAND_NOT_SUPPORTED = 115 "CommandNotSupported";
    /// `client` lacks a field.
    CLIENT_METADATA_MISSING_FIELD = 183 "ClientMetadataMissingField";
    /// `client.application.name` is too long.
    CLIENT_METADATA_APP_NAME_TOO_LARGE = 184 "ClientMetadataAppNameTooLarge";
    /// `client` is too long.
    CLIENT_METADATA_DOCUMENT_TOO_LARGE = 185 "ClientMetadataDocumentTooLarge";
    /// A `client` document after the first hello.
    CLIENT_METADATA_CANNOT_BE_MUTATED = 186 "ClientMetadataCannotBeMutated";
    /// The cursor was killed under the operation.
    CURSOR_KILLED = 237 "CursorKilled";
    /// It took longer than is allowed here.
    EXCEEDED_TIME_LIMIT = 262 "ExceededTimeLimit";
    /// `apiVersion` is not known.
    API_VERSION_ERROR = 322 "APIVersionError";
    /// Not part of the API version that the client insists on.
    API_STRICT_ERROR = 323 "APIStrictError";
    /// A command that OP_QUERY may not carry.
    UNSUPPORTED_OP_QUERY_COMMAND = 352 "UnsupportedOpQueryCommand";
    /// A document above 16 MiB.
    BSON_OBJECT_TOO_LARGE = 10334 "BSONObjectTooLarge";
    /// An OP_MSG without `$db`.
    DATABASE_MISSING = 40571 "Location40571";
    /// Only one of hello's `topologyVersion` and `maxAwaitTimeMS`.
    HELLO_AWAIT_INCOMPLETE = 31368 "Location31368";
    /// A negative `topologyVersion.counter`.
    HELLO_COUNTER_NEGATIVE = 31372 "Location31372";
    /// A `topologyVersion.counter` that the server has not reached.
    HELLO_COUNTER_AHEAD = 31382 "Location31382";
    /// The same on a standalone.
    HELLO_COUNTER_AHEAD_STANDALONE = 51764 "Location51764";
    /// `speculativeAuthenticate` holds something else than an authentication.
    SPECULATION_UNKNOWN = 51769 "Location51769";
    /// Something else where only an object can be.
    NOT_AN_OBJECT = 10065 "Location10065";
    /// A field that stands twice.
    FIELD_DUPLICATE = 40413 "Location40413";
    /// A field that is missing.
    FIELD_MISSING = 40414 "Location40414";
    /// A field that is not known.
    FIELD_UNKNOWN = 40415 "Location40415";
    /// A value outside its bounds.
    FIELD_OUT_OF_RANGE = 51024 "Location51024";
    /// An exhaust hello that does not await.
    HELLO_EXHAUST_WITHOUT_AWAIT = 51756 "Location51756";
    /// `apiStrict` or `apiDeprecationErrors` without `apiVersion`.
    API_VERSION_MISSING = 4886600 "Location4886600";
}

impl ErrorCode {
    /// The `codeName` that mongod sends with it.
    pub fn name(self) -> Cow<'static, str> {
        match self.known_name() {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("Location{}", self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_without_a_name_is_called_by_its_place() {
        assert_eq!(ErrorCode(262).name(), "ExceededTimeLimit");
        assert_eq!(ErrorCode(999_999).name(), "Location999999");
    }
}
