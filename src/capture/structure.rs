//! Which fields of commands, of expressions and of replies are structure, and not data: they are what a command needs to
//! stay the command that it was when all values are replaced.

use crate::doc::Names;

/// Text of the server, or of code, in which values may stand.
#[rustfmt::skip]
pub static TEXTS: Names = Names::new(&[
    b"errmsg", b"errMsg", b"$err", b"err", b"comment", b"$comment",
]);

/// Code, of which nothing is kept if it names a secret field.
#[rustfmt::skip]
pub static CODE: Names = Names::new(&[
    b"$where", b"body", b"map", b"reduce", b"finalize", b"init", b"accumulate", b"merge",
]);

/// What brings any field of a document back under other names.
pub static RENAMES_ALL: Names = Names::new(&[b"$objectToArray", b"$function", b"$accumulator"]);

/// Lists of stages: what one of them renames, those behind it may compare.
pub static PIPELINES: Names = Names::new(&[b"pipeline", b"u", b"update", b"updateMods"]);

/// Of operators their arguments say how, and not what.
#[rustfmt::skip]
pub static HOW: Names = Names::new(&[
    b"$exists", b"$type", b"$options", b"$size", b"$slice", b"$position", b"$rename", b"$ref", b"$language",
    b"$caseSensitive", b"$orderby", b"$hint",
]);

/// Fields of commands, statements and replies that are structure, and not data.
#[rustfmt::skip]
pub static STRUCTURE: Names = Names::new(&[
    b"$db", b"$readPreference", b"$clusterTime", b"$configTime", b"$topologyTime", b"lsid", b"txnNumber",
    b"autocommit", b"startTransaction", b"readConcern", b"writeConcern", b"maxTimeMS", b"maxAwaitTimeMS",
    b"apiVersion", b"apiStrict", b"apiDeprecationErrors", b"collation", b"hint", b"batchSize", b"limit",
    b"skip", b"singleBatch", b"tailable", b"awaitData", b"noCursorTimeout", b"oplogReplay",
    b"allowPartialResults", b"allowDiskUse", b"showRecordId", b"returnKey", b"sort", b"ordered",
    b"bypassDocumentValidation", b"multi", b"upsert", b"new", b"remove", b"collection", b"cursors", b"key",
    b"name", b"to", b"dropTarget", b"capped", b"size", b"expireAfterSeconds", b"timeseries", b"nameOnly",
    b"authorizedDatabases", b"client", b"topologyVersion", b"helloOk", b"compression", b"ok", b"n",
    b"nModified", b"code", b"codeName", b"errorLabels", b"operationTime", b"electionId", b"opTime",
    b"index", b"id", b"ns", b"partialResultsReturned", b"verbosity", b"unique",
    b"sparse", b"v", b"weights", b"default_language", b"language_override", b"viewOn",
]);

/// Fields with commands, statements or parts of replies inside.
#[rustfmt::skip]
pub static NESTING: Names = Names::new(&[
    b"updates", b"deletes", b"ops", b"cursor", b"writeErrors", b"writeConcernError", b"lastErrorObject",
    b"nsInfo", b"cursorsKilled", b"upserted", b"indexes",
]);

/// Of pipelines, what names something or says how.
#[rustfmt::skip]
pub static PIPELINE: Names = Names::new(&[
    b"from", b"localField", b"foreignField", b"as", b"into", b"coll", b"db", b"on", b"whenMatched",
    b"whenNotMatched", b"path", b"$limit", b"$skip", b"size", b"$out", b"$count", b"$sortByCount",
    b"connectFromField", b"connectToField", b"depthField", b"unit", b"format",
    b"timezone", b"options", b"to", b"lang", b"$meta", b"$unset", b"$unionWith",
]);

/// What is looked for inside them is no part of the expression that they stand in.
#[rustfmt::skip]
pub static APART: Names = Names::new(&[
    b"$and", b"$or", b"$nor", b"$not", b"$expr", b"$match", b"$facet",
]);

/// Kinds of indexes, which stand where a direction may.
#[rustfmt::skip]
pub static INDEX_KINDS: Names = Names::new(&[
    b"2d", b"2dsphere", b"text", b"hashed",
]);
